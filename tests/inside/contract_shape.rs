//! The contract as lines of text, one for each thing that a plugin can be built against: what a release
//! promises, without its comments and its layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wit_parser::{Function, Handle, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldItem};

/// A version of the contract: numbers by which versions are compared.
pub(crate) type Version = (u64, u64, u64);

/// One version of the contract: every type, function and world item by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The package's version.
    pub(crate) version: Version,
    /// `checker.run` to `func(observation: borrow<observation.observation>) -> …`, and so on.
    pub(crate) items: BTreeMap<String, String>,
}

impl Shape {
    /// Reads one package of interface text, or says why it is none.
    pub(crate) fn of(wit: &str) -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let package =
            resolve.push_source("contract.wit", wit).map_err(|error| error.root_cause().to_string())?;
        let package = &resolve.packages[package];
        let version = package.name.version.as_ref().ok_or("the package has no version")?;
        let mut items = BTreeMap::new();
        for (name, id) in &package.interfaces {
            let interface = &resolve.interfaces[*id];
            items.insert(name.clone(), "interface".to_owned());
            for (type_name, id) in &interface.types {
                items.insert(format!("{name}.{type_name}"), definition(&resolve, *id));
            }
            for (function_name, function) in &interface.functions {
                items.insert(format!("{name}.{function_name}"), signature(&resolve, function));
            }
        }
        for (name, id) in &package.worlds {
            let world = &resolve.worlds[*id];
            for (direction, list) in [("import", &world.imports), ("export", &world.exports)] {
                for (key, item) in list {
                    let interface = match item {
                        WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.clone(),
                        _ => None,
                    };
                    // What has no name could have no version either.
                    let item = interface.ok_or_else(|| {
                        format!("world {name}: \"{}\" is no named interface", resolve.name_world_key(key))
                    })?;
                    items.insert(format!("world {name}: {direction} {item}"), "interface".to_owned());
                }
            }
        }
        Ok(Self { version: (version.major, version.minor, version.patch), items })
    }

    /// Reads what [`Shape::text`] wrote.
    pub(crate) fn parse(version: Version, text: &str) -> Self {
        let item =
            |line: &str| line.split_once(" = ").map(|(name, shape)| (name.to_owned(), shape.to_owned()));
        Self { version, items: text.lines().filter_map(item).collect() }
    }

    /// A line an item, sorted.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, shape) in &self.items {
            let _ = writeln!(text, "{name} = {shape}");
        }
        text
    }

    /// The version as text.
    pub(crate) fn version_text(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// Everything that breaks a promise where this shape was released, and `new` is to stand in its
    /// place; empty where plugins built for this one run on a runner of the new one, and the version
    /// says what has changed.
    pub(crate) fn broken_by(&self, new: &Self) -> Vec<String> {
        let mut broken = Vec::new();
        if new.version < self.version {
            let (new, old) = (new.version_text(), self.version_text());
            broken.push(format!("version {new} is older than {old}, which was released"));
        }
        for (name, shape) in &self.items {
            match new.items.get(name) {
                None => broken.push(format!("\"{name}\" is gone")),
                Some(other) if other != shape => {
                    broken.push(format!("\"{name}\" was \"{shape}\" and is \"{other}\""));
                }
                Some(_) => {}
            }
        }
        for name in new.items.keys().filter(|name| !self.items.contains_key(*name)) {
            if new.version <= self.version {
                broken.push(format!("\"{name}\" is new, which needs a higher version"));
            } else if !self.may_gain(name) {
                broken.push(format!("\"{name}\" is new: plugins built before it lack it"));
            }
        }
        broken
    }

    /// Whether a minor version may add an item of this name: whatever a plugin may call, nothing that
    /// it has to have.
    fn may_gain(&self, name: &str) -> bool {
        if let Some((world, _)) = name.split_once(": export ") {
            let is_known = self.items.keys().any(|known| known.starts_with(&format!("{world}: ")));
            return !is_known;
        }
        let interface = name.split('.').next().unwrap_or(name);
        !self.items.keys().any(|known| known.ends_with(&format!(": export {interface}")))
    }
}

/// What a named type is.
fn definition(resolve: &Resolve, id: TypeId) -> String {
    let listed = |list: Vec<String>| list.join(", ");
    match &resolve.types[id].kind {
        TypeDefKind::Resource => "resource".to_owned(),
        TypeDefKind::Record(record) => {
            let field = |field: &wit_parser::Field| format!("{}: {}", field.name, used(resolve, &field.ty));
            format!("record {{ {} }}", listed(record.fields.iter().map(field).collect()))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{ {} }}", listed(cases.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{ {} }}", listed(flags.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Variant(variant) => {
            let case = |case: &wit_parser::Case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, used(resolve, ty)),
                None => case.name.clone(),
            };
            format!("variant {{ {} }}", listed(variant.cases.iter().map(case).collect()))
        }
        TypeDefKind::Type(other) => format!("type {}", used(resolve, other)),
        other => format!("type {}", structure(resolve, other)),
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameter = |param: &wit_parser::Param| format!("{}: {}", param.name, used(resolve, &param.ty));
    let parameters: Vec<_> = function.params.iter().map(parameter).collect();
    let result = function.result.as_ref().map(|ty| format!(" -> {}", used(resolve, ty)));
    format!("func({}){}", parameters.join(", "), result.unwrap_or_default())
}

/// A type where it is used: by its name where it has one.
fn used(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let def = &resolve.types[*id];
    match (&def.name, def.owner) {
        (Some(name), TypeOwner::Interface(owner)) => {
            format!("{}.{name}", resolve.interfaces[owner].name.as_deref().unwrap_or_default())
        }
        _ => structure(resolve, &def.kind),
    }
}

/// A type without a name.
fn structure(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let or_none = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| used(resolve, ty));
    match kind {
        TypeDefKind::Option(ty) => format!("option<{}>", used(resolve, ty)),
        TypeDefKind::List(ty) => format!("list<{}>", used(resolve, ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", or_none(&result.ok), or_none(&result.err)),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<_> = tuple.types.iter().map(|ty| used(resolve, ty)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", used(resolve, &Type::Id(*id))),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", used(resolve, &Type::Id(*id))),
        other => panic!("the lock does not know how to write a {}", other.as_str()),
    }
}
