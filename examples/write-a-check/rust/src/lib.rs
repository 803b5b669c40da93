//! A shop's cart must add up, in the right currency.
//!
//! The page carries its cart as JSON: `<script type="application/json" id="cart">`.

use probity_check::{Check, Findings, JsonSchema, Manifest, Observation, Verdict, annotate, metric, schemars};
use serde_json::Value;

/// What the cart must be like.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The currency of the cart, a code of three capital letters.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    currency: String,
    /// Whether a cart without items is as it should be; else it is a warning.
    #[serde(default)]
    allow_empty: bool,
}

struct Cart {
    currency: String,
    allow_empty: bool,
}

impl Check for Cart {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    fn configure(Config { currency, allow_empty }: Config) -> Result<Self, String> {
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!(
                "currency: \"{currency}\" is not a code of three capital letters, like \"GBP\""
            ));
        }
        Ok(Cart { currency, allow_empty })
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let page = seen.body_text();
        let Some(text) = cart_text(&page) else {
            let length = seen.body_len();
            if seen.body_truncated() {
                return Err(format!("the page was cut at {length} bytes, before its cart: raise body_limit"));
            }
            return Ok(Verdict::fail(format!("no <script id=\"cart\"> in a page of {length} bytes")));
        };
        let Ok(cart) = serde_json::from_str::<Value>(text) else {
            let begin: String = text.trim().chars().take(60).collect();
            return Ok(Verdict::fail(format!("the cart is not JSON: \"{begin}\"")));
        };
        Ok(self.judge(&cart).unwrap_or_else(Verdict::fail))
    }
}

probity_check::export!(Cart);

impl Cart {
    /// The verdict on a cart; the error says what is not there, or is not what it should be.
    fn judge(&self, cart: &Value) -> Result<Verdict, String> {
        let currency = cart["currency"].as_str().ok_or("currency is not a text")?;
        let total = pence(&cart["total"]).ok_or("total is not a number")?;
        let (mut items, mut sum) = (0, 0);
        for (at, item) in cart["items"].as_array().ok_or("items is not a list")?.iter().enumerate() {
            let price = pence(&item["price"]).ok_or_else(|| format!("items[{at}].price is not a number"))?;
            let quantity = whole(&item["quantity"])
                .ok_or_else(|| format!("items[{at}].quantity is not a whole number"))?;
            items += quantity;
            sum += price * quantity;
        }
        metric("items", items as f64);
        metric(&format!("total_{}", currency.to_lowercase()), total as f64 / 100.0);
        annotate("currency", currency);

        let mut findings = Findings::new();
        if currency != self.currency {
            findings.fail(format!("the currency is {currency}, not {}", self.currency));
        }
        let counted = if items == 1 { "1 item".to_owned() } else { format!("{items} items") };
        if sum != total {
            let cost = if items == 1 { "costs" } else { "cost" };
            let (total, sum) = (money(total), money(sum));
            findings.fail(format!("the total is {total} {currency}, but {counted} {cost} {sum} {currency}"));
        }
        if items == 0 && !self.allow_empty {
            findings.warn("the cart is empty");
        }
        Ok(findings.into_verdict(format!("{counted}, {} {currency}", money(total))))
    }
}

/// What stands in `<script id="cart">`; none where there is no such tag, or no end of it.
fn cart_text(page: &str) -> Option<&str> {
    let mut rest = page;
    loop {
        let (_, tag) = rest.split_once("<script")?;
        let (attributes, inside) = tag.split_once('>')?;
        let (content, after) = inside.split_once("</script>")?;
        if attributes.contains("id=\"cart\"") {
            return Some(content);
        }
        rest = after;
    }
}

/// An amount in hundredths: a sum of floats would be off by a little.
fn pence(amount: &Value) -> Option<i64> {
    amount.as_f64().filter(|amount| amount.abs() < 1e12).map(|amount| (amount * 100.0).round() as i64)
}

fn whole(number: &Value) -> Option<i64> {
    number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e6).map(|number| number as i64)
}

fn money(pence: i64) -> String {
    format!("{}{}.{:02}", if pence < 0 { "-" } else { "" }, pence.abs() / 100, pence.abs() % 100)
}

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        probity_check::cases::run::<super::Cart>(include_str!("../cases.toml")).unwrap();
    }
}
