// The page must have a text: a check to begin with.

import { metric } from "probity:check/report@0.1.0";

// The host calls `configure` once for a configuration, and then `run`.
let text;

export const manifest = {
  describe: () => [
    ["name", "my-check"],
    ["version", "0.1.0"],
    ["summary", "The page must have a text"],
    ["needs-body", "true"],
    ["config-schema", JSON.stringify(schema)],
  ],
};

export const checker = { configure, run };

// What stands under `config` in a pipeline file.
const schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "my-check",
  type: "object",
  additionalProperties: false,
  required: ["text"],
  properties: {
    text: { type: "string", minLength: 1, description: "The text that the page must have." },
  },
};

// What is thrown is shown to the person who wrote the configuration.
function configure(json) {
  const config = JSON.parse(json);
  for (const key of Object.keys(config)) {
    if (key !== "text") throw `unknown key "${key}", expected "text"`;
  }
  if (config.text === undefined) throw 'missing key "text"';
  if (typeof config.text !== "string") throw "text: not a string";
  if (config.text === "") throw "text: an empty text is in every page";
  text = config.text;
}

// What is thrown means: could not judge.
function run(seen) {
  const page = seen.bodyText();
  const occurrences = page.split(text).length - 1;
  if (occurrences === 0 && seen.bodyTruncated()) {
    throw `"${text}" is not in the first ${seen.bodyLen()} bytes, where the page was cut: raise body_limit`;
  }
  metric("occurrences", occurrences);
  if (occurrences === 0) {
    const begin = page.slice(0, 60);
    const message = `"${text}" is not in the ${seen.bodyLen()} bytes of the page, which begins "${begin}"`;
    return { status: "fail", message };
  }
  return { status: "pass", message: `"${text}" is there` };
}
