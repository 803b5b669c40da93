// A shop's cart must add up, in the right currency.
//
// The page carries its cart as JSON: <script type="application/json" id="cart">.

import { annotate, metric } from "probity:check/report@0.1.0";

// What stands under `config` in a pipeline file.
const schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "cart",
  description: "What the cart must be like.",
  type: "object",
  additionalProperties: false,
  required: ["currency"],
  properties: {
    currency: {
      description: "The currency of the cart, a code of three capital letters.",
      type: "string",
      pattern: "^[A-Z]{3}$",
    },
    allow_empty: {
      description: "Whether a cart without items is as it should be; else it is a warning.",
      type: "boolean",
      default: false,
    },
  },
};

export const manifest = {
  describe: () => [
    ["name", "cart"],
    ["version", "0.1.0"],
    ["summary", "A shop's cart must add up, in the right currency"],
    ["needs-body", "true"],
    ["config-schema", JSON.stringify(schema)],
  ],
};

export const checker = { configure, run };

let config;

// Called once for a configuration. What is thrown is shown to the person who wrote it.
function configure(json) {
  const { currency, allow_empty = false, ...others } = JSON.parse(json);
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) throw `unknown key "${unknown}", expected "currency" or "allow_empty"`;
  if (currency === undefined) throw 'missing key "currency"';
  if (!/^[A-Z]{3}$/.test(currency)) {
    throw `currency: "${currency}" is not a code of three capital letters, like "GBP"`;
  }
  if (typeof allow_empty !== "boolean") throw "allow_empty: neither true nor false";
  config = { currency, allowEmpty: allow_empty };
}

// Called for every response. What is thrown means: could not judge.
function run(seen) {
  const page = seen.bodyText();
  const text = cartText(page);
  if (text === undefined) {
    const length = seen.bodyLen();
    if (seen.bodyTruncated()) throw `the page was cut at ${length} bytes, before its cart: raise body_limit`;
    return fail(`no <script id="cart"> in a page of ${length} bytes`);
  }
  let cart;
  try {
    cart = JSON.parse(text);
  } catch {
    return fail(`the cart is not JSON: "${text.trim().slice(0, 60)}"`);
  }
  try {
    return judge(cart);
  } catch (error) {
    if (error instanceof Malformed) return fail(error.message);
    throw error;
  }
}

// The cart is not what it should be: the shop's mistake, so the verdict is `fail`.
class Malformed extends Error {}

function judge(cart) {
  const { currency, total: stated, items: list } = cart ?? {};
  if (typeof currency !== "string") throw new Malformed("currency is not a text");
  const total = pence(stated);
  if (total === undefined) throw new Malformed("total is not a number");
  if (!Array.isArray(list)) throw new Malformed("items is not a list");
  let items = 0;
  let sum = 0;
  list.forEach((item, at) => {
    const price = pence(item?.price);
    if (price === undefined) throw new Malformed(`items[${at}].price is not a number`);
    const quantity = item?.quantity;
    if (!Number.isInteger(quantity)) throw new Malformed(`items[${at}].quantity is not a whole number`);
    items += quantity;
    sum += price * quantity;
  });
  metric("items", items);
  metric(`total_${currency.toLowerCase()}`, total / 100);
  annotate("currency", currency);

  const wrong = [];
  if (currency !== config.currency) wrong.push(`the currency is ${currency}, not ${config.currency}`);
  const counted = items === 1 ? "1 item" : `${items} items`;
  if (sum !== total) {
    const cost = items === 1 ? "costs" : "cost";
    wrong.push(`the total is ${money(total)} ${currency}, but ${counted} ${cost} ${money(sum)} ${currency}`);
  }
  if (wrong.length > 0) return fail(wrong.join("; "));
  if (items === 0 && !config.allowEmpty) return { status: "warn", message: "the cart is empty" };
  return { status: "pass", message: `${counted}, ${money(total)} ${currency}` };
}

function fail(message) {
  return { status: "fail", message };
}

// What stands in <script id="cart">.
function cartText(page) {
  for (const [, attributes, content] of page.matchAll(/<script([^>]*)>([^]*?)<\/script>/g)) {
    if (attributes.includes('id="cart"')) return content;
  }
}

// An amount in hundredths: a sum of floats would be off by a little.
function pence(amount) {
  return Number.isFinite(amount) ? Math.round(amount * 100) : undefined;
}

function money(pence) {
  return (pence / 100).toFixed(2);
}
