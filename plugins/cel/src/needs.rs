//! What conditions use of each variable, so that no more of a response than that is asked for and
//! read.

use std::collections::BTreeMap;

use cel_rust::IdedExpr;
use cel_rust::common::ast::{Expr, LiteralValue};

/// What is used of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    /// All of it, or nobody can say what: `size(json)`, `json[name]`.
    All,
    /// What stands at these keys: `json.status`, `headers["etag"]`.
    Only(Vec<String>),
}

impl Keys {
    /// Whether what stands at a key is used.
    pub(crate) fn has(&self, key: &str) -> bool {
        match self {
            Keys::All => true,
            Keys::Only(keys) => keys.iter().any(|known| known == key),
        }
    }
}

/// What is used, by variable.
#[derive(Debug, Default)]
pub(crate) struct Needs(BTreeMap<String, Keys>);

impl Needs {
    /// Adds a path: `json.items[0].price` uses the key `items` of `json`.
    pub(crate) fn add(&mut self, path: &IdedExpr) {
        let mut step = path;
        let mut key = None;
        loop {
            match &step.expr {
                Expr::Ident(name) => return self.insert(name, key),
                Expr::Select(select) => {
                    key = Some(select.field.clone());
                    step = &select.operand;
                }
                Expr::Call(call) => {
                    let [operand, index] = call.args.as_slice() else { return };
                    key = match &index.expr {
                        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
                        _ => None,
                    };
                    step = operand;
                }
                _ => return,
            }
        }
    }

    fn insert(&mut self, variable: &str, key: Option<String>) {
        let keys = self.0.entry(variable.to_owned()).or_insert_with(|| Keys::Only(Vec::new()));
        match (keys, key) {
            (Keys::All, _) => {}
            (keys, None) => *keys = Keys::All,
            (Keys::Only(keys), Some(key)) if keys.contains(&key) => {}
            (Keys::Only(keys), Some(key)) => keys.push(key),
        }
    }

    /// What is used of a variable; none where it is not named at all.
    pub(crate) fn of(&self, variable: &str) -> Option<&Keys> {
        self.0.get(variable)
    }
}
