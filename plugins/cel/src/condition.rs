//! One condition: compiled and looked through when the configuration is read, so that what can
//! never be evaluated is refused there.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

use cel_rust::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel_rust::extractors::This;
use cel_rust::{Context, Env, ExecutionError, Program, Value, extensions};
use probity_check::{JsonSchema, Length, Pattern, Phase, excerpt, schemars};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::value::shown;
use super::variables::{NAMES, Variables};

/// The most characters of a condition, and the most of a reason, in a message.
const SHOWN_CHARS: usize = 160;

/// Names of types, as in `type(json.price) == double`.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// The language with its functions on texts. Built once, before the runner's picture of the check.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut language = Env::stdlib();
    // It fails only where an extension is added twice.
    let _ = language.add_extension(extensions::strings);
    Arc::new(language)
});

/// What a condition came to.
pub(crate) enum Judgement {
    True,
    /// What is told of it.
    False(String),
    Error(ExecutionError),
}

/// A condition, like `status == 200`.
#[derive(JsonSchema)]
#[schemars(with = "String", rename = "condition", extend("minLength" = 1))]
pub(crate) struct Condition {
    text: String,
    program: Program,
    /// The paths it names, as they are written: `timing.total`.
    named: Vec<(String, IdedExpr)>,
    /// The regular expressions that it holds, compiled.
    pub(crate) patterns: Patterns,
}

/// Regular expressions, compiled, by their text.
pub(crate) type Patterns = BTreeMap<String, Pattern>;

impl fmt::Debug for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl Condition {
    /// Compiles a condition. The error says where it is wrong, as line and column.
    fn parse(text: &str) -> Result<Self, String> {
        let refusal =
            |why: &str| format!("{} is not a condition: {why}", excerpt(text.trim().as_bytes(), SHOWN_CHARS));
        let program = LANGUAGE.compile(text).map_err(|errors| {
            let told = errors.errors.first().map_or_else(String::new, |error| {
                let (line, column) = error.pos;
                format!("{line}:{column}: {}", syntax_error(&error.msg))
            });
            refusal(&told)
        })?;
        let mut reading = Reading::default();
        reading.read(program.expression()).map_err(|(id, why)| {
            let (start, _) = program.source_info().offset_for(id).unwrap_or_default();
            let before: Vec<char> = text.chars().take(start as usize).collect();
            let line = 1 + before.iter().filter(|character| **character == '\n').count();
            let column = 1 + before.iter().rev().take_while(|character| **character != '\n').count();
            refusal(&format!("{line}:{column}: {why}"))
        })?;
        let Reading { named, patterns, scope: _ } = reading;
        let condition = Condition { text: text.to_owned(), program, named, patterns };
        condition.refuse_wrong_types().map_err(|why| refusal(&why))?;
        Ok(condition)
    }

    /// Tries it with a sample: types that never fit are told before the first response.
    fn refuse_wrong_types(&self) -> Result<(), String> {
        let sample = Variables::sample();
        match self.program.execute(&context(&sample, &Arc::new(self.patterns.clone()))) {
            Ok(Value::Bool(_)) => Ok(()),
            Ok(other) => Err(format!("it is of type {}, neither true nor false", kind(&other))),
            Err(_) if self.names("json") => Ok(()),
            Err(
                error @ (ExecutionError::NoSuchOverload(_)
                | ExecutionError::ValuesNotComparable(..)
                | ExecutionError::UnsupportedBinaryOperator(..)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::InvalidArgumentCount { .. }
                | ExecutionError::MissingArgumentOrTarget),
            ) => Err(reason(&error)),
            Err(_) => Ok(()),
        }
    }

    /// Whether it uses a variable.
    pub(crate) fn names(&self, variable: &str) -> bool {
        self.named.iter().any(|(path, _)| {
            path.strip_prefix(variable).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Evaluates it in the context of these variables.
    pub(crate) fn judge(&self, context: &Context, variables: &Variables) -> Judgement {
        match self.program.execute(context) {
            Ok(Value::Bool(true)) => Judgement::True,
            Ok(Value::Bool(false)) => {
                let mut told = format!("{} is false", self.shown());
                for (index, (path, expression)) in self.named.iter().enumerate() {
                    let value =
                        context.resolve(expression).map_or("missing".to_owned(), |value| shown(&value));
                    let joint = if index == 0 { ":" } else { "," };
                    // Writing to a string cannot fail.
                    let _ = write!(told, "{joint} {path} is {value}");
                }
                if variables.body_cut && (self.names("body") || self.names("json")) {
                    told.push_str(", body was cut by body_limit");
                }
                Judgement::False(told)
            }
            Ok(other) => {
                let got = format!("it is of type {}, neither true nor false", kind(&other));
                Judgement::Error(ExecutionError::function_error("", got))
            }
            Err(error) => Judgement::Error(error),
        }
    }

    /// Why it could not be judged.
    pub(crate) fn unjudged(&self, error: &ExecutionError, variables: &Variables) -> String {
        let reason = match (error, &variables.no_json) {
            (ExecutionError::UndeclaredReference(name), Some(why)) if name.as_str() == "json" => why.clone(),
            _ => reason(error),
        };
        format!("could not judge {}: {reason}", self.shown())
    }

    fn shown(&self) -> String {
        excerpt(self.text.trim().as_bytes(), SHOWN_CHARS)
    }
}

/// What conditions are evaluated in: the language, the functions of this check, and variables.
pub(crate) fn context(variables: &Variables, patterns: &Arc<Patterns>) -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::clone(&LANGUAGE));
    for (name, value) in &variables.values {
        context.add_variable_from_value(*name, value.clone());
    }
    let patterns = Arc::clone(patterns);
    let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| {
        let found = match patterns.get(pattern.as_str()) {
            Some(compiled) => compiled.is_match(text.as_bytes()),
            None => Pattern::parse(&pattern)
                .map_err(|why| ExecutionError::function_error("matches", why))?
                .is_match(text.as_bytes()),
        };
        Ok::<bool, ExecutionError>(found)
    };
    // They fail only where the language has the function already.
    let _ = context.add_function("matches", matches);
    let _ = context.add_function("duration", |text: Arc<String>| match Length::parse(&text) {
        Ok(Length(length)) => Ok(length.as_secs_f64()),
        Err(why) => Err(ExecutionError::function_error("duration", why)),
    });
    context
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Condition;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a condition, like \"status == 200\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Condition, E> {
                Condition::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// The parser's words without the list of everything that it would have liked better.
fn syntax_error(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    // The parser's own limits arrive as the debug text of an error.
    let line = line.split("msg: \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(line);
    let line = line.split(" expecting ").next().unwrap_or(line);
    let line = line.strip_prefix("Syntax error: ").unwrap_or(line);
    line.replace("mismatched input '<EOF>'", "it ends too early").replace('\'', "\"")
}

/// An evaluation error in a message.
fn reason(error: &ExecutionError) -> String {
    let told = match error {
        ExecutionError::NoSuchKey(key) => format!("there is no key \"{key}\""),
        ExecutionError::IndexOutOfBounds(index) => format!("there is no index {}", shown(index)),
        ExecutionError::UndeclaredReference(name) => format!("there is no \"{name}\""),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::FunctionError { message, .. } => message.clone(),
        ExecutionError::NoSuchOverload(call) => {
            // An operator is named with its places: `_<_`.
            let name = call.function();
            let name = if name.starts_with('_') { name.replace('_', "") } else { name.to_owned() };
            format!("\"{name}\" does not take {}", call.argument_types().join(" and "))
        }
        ExecutionError::UnsupportedBinaryOperator(name, one, other) => {
            format!("\"{name}\" does not take {} and {}", kind(one), kind(other))
        }
        other => other.to_string().replace('\'', "\""),
    };
    match told.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &told[..end]),
        None => told,
    }
}

/// The name of a value's type in the language.
fn kind(value: &Value) -> String {
    match value {
        Value::Float(_) => "double".to_owned(),
        other => other.type_of().to_string(),
    }
}

/// What is wrong, and the number of the node where.
type Refusal = (u64, String);

/// Looks through an expression: which paths it names, and whether it can be evaluated at all.
#[derive(Default)]
struct Reading<'a> {
    named: Vec<(String, IdedExpr)>,
    patterns: Patterns,
    /// Names that `exists` and its kin bring.
    scope: Vec<&'a str>,
}

impl<'a> Reading<'a> {
    fn read(&mut self, node: &'a IdedExpr) -> Result<(), Refusal> {
        if let Some((path, root)) = path(node) {
            if self.scope.contains(&root) || (path == root && TYPES.contains(&root)) {
                return Ok(());
            }
            refuse_path(&path, root).map_err(|why| (node.id, why))?;
            if !self.named.iter().any(|(known, _)| *known == path) {
                self.named.push((path, without_test(node)));
            }
            return Ok(());
        }
        match &node.expr {
            Expr::Call(call) => {
                self.read_call(call).map_err(|why| (node.id, why))?;
                call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(|part| self.read(part))
            }
            Expr::Select(select) => self.read(&select.operand),
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.read(item)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.read(&entry.key)?;
                    self.read(&entry.value)
                }
                EntryExpr::StructField(field) => self.read(&field.value),
            }),
            Expr::Comprehension(all) => {
                self.read(&all.iter_range)?;
                let outside = self.scope.len();
                self.scope.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
                self.scope.extend(all.iter_var2.as_deref());
                let inside = [&all.accu_init, &all.loop_cond, &all.loop_step, &all.result];
                inside.into_iter().try_for_each(|part| self.read(part))?;
                self.scope.truncate(outside);
                Ok(())
            }
            Expr::Struct(made) => Err((node.id, format!("there is no type \"{}\"", made.type_name))),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Ok(()),
        }
    }

    /// Refuses an unknown function, and reads the texts that two of them are written with.
    fn read_call(&mut self, call: &CallExpr) -> Result<(), String> {
        let name = call.func_name.as_str();
        // An operator is named by signs: `_==_`.
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) && !is_function(name) {
            return Err(format!("there is no function \"{name}\""));
        }
        if let ("_-_", Some((path, "headers" | "header_values"))) = (name, call.args.first().and_then(path)) {
            let (root, begin) = path.split_once('.').unwrap_or((&path, "x"));
            return Err(format!("a name with hyphens is written in brackets: {root}[\"{begin}-…\"]"));
        }
        let Some(Expr::Literal(LiteralValue::String(text))) = call.args.last().map(|last| &last.expr) else {
            return Ok(());
        };
        match name {
            "duration" => Length::parse(text.inner()).map(|_| ()),
            "matches" => {
                let pattern = Pattern::parse(text.inner())?;
                // One search builds what an expression builds lazily.
                pattern.find(b"\n");
                self.patterns.insert(text.inner().to_owned(), pattern);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether the language, or this check, has a function or method of this name.
fn is_function(name: &str) -> bool {
    if ["matches", "duration"].contains(&name) {
        return true;
    }
    let context = Context::with_env(Arc::clone(&LANGUAGE));
    let text = || IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
    [None, Some(Box::new(text()))].into_iter().any(|target| {
        let call = CallExpr { func_name: name.to_owned(), target, args: vec![text()] };
        let called = context.resolve(&IdedExpr { id: 0, expr: Expr::Call(call) });
        !matches!(called, Err(ExecutionError::UndeclaredReference(_)))
    })
}

/// A path as it is written, and the variable it begins with: `headers["etag"]`, `json.items[0].id`.
fn path(node: &IdedExpr) -> Option<(String, &str)> {
    match &node.expr {
        Expr::Ident(name) => Some((name.clone(), name)),
        Expr::Select(select) => {
            let (path, root) = path(&select.operand)?;
            Some((format!("{path}.{}", select.field), root))
        }
        Expr::Call(call) if call.func_name == "_[_]" => {
            let [operand, index] = call.args.as_slice() else { return None };
            let (path, root) = path(operand)?;
            let index = match &index.expr {
                Expr::Literal(LiteralValue::String(key)) => excerpt(key.inner().as_bytes(), SHOWN_CHARS),
                Expr::Literal(LiteralValue::Int(index)) => index.inner().to_string(),
                _ => return None,
            };
            Some((format!("{path}[{index}]"), root))
        }
        _ => None,
    }
}

/// The value that `has(…)` asks about, so that it can be shown.
fn without_test(node: &IdedExpr) -> IdedExpr {
    let mut node = node.clone();
    if let Expr::Select(select) = &mut node.expr {
        select.test = false;
    }
    node
}

/// Refuses a path that can lead nowhere.
fn refuse_path(path: &str, root: &str) -> Result<(), String> {
    if !NAMES.contains(&root) {
        return Err(format!("there is no variable \"{root}\"; there are {}", NAMES.join(", ")));
    }
    let key = path[root.len()..].trim_matches(['.', '[', ']', '"']);
    if key.is_empty() {
        return Ok(());
    }
    match root {
        "timing" if Phase::from_name(key).is_none() => {
            let names = Phase::ALL.map(Phase::name).join(", ");
            Err(format!("timing has no \"{key}\"; it has {names}"))
        }
        "headers" | "header_values" if key.contains(|letter: char| letter.is_ascii_uppercase()) => {
            Err(format!("{path}: names of headers are in lower case here"))
        }
        _ => Ok(()),
    }
}
