//! What authors start from agrees with itself: the kit in C with the contract, the four examples with each other.

use std::collections::BTreeMap;
use std::fs;

use wit_parser::{Resolve, WorldId, WorldItem};

use crate::tree::root;

/// Every function of a world, as the resolved text of its parameters and result.
fn functions(resolve: &Resolve, world: WorldId) -> BTreeMap<String, String> {
    let world = &resolve.worlds[world];
    let mut found = BTreeMap::new();
    for (direction, items) in [("import", &world.imports), ("export", &world.exports)] {
        for (key, item) in items {
            let WorldItem::Interface { id, .. } = item else { continue };
            for (name, function) in &resolve.interfaces[*id].functions {
                let types = function.params.iter().map(|parameter| shape(resolve, &parameter.ty));
                let types: Vec<String> =
                    types.chain(function.result.iter().map(|ty| shape(resolve, ty))).collect();
                found.insert(format!("{direction} {}#{name}", resolve.name_world_key(key)), types.join(", "));
            }
        }
    }
    found
}

/// A type down to its names and primitives.
fn shape(resolve: &Resolve, ty: &wit_parser::Type) -> String {
    use wit_parser::{Handle, Type, TypeDefKind};
    let Type::Id(id) = ty else { return format!("{ty:?}") };
    let inner = |ty: &Type| shape(resolve, ty);
    let optional = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), inner);
    let definition = &resolve.types[*id];
    match &definition.kind {
        TypeDefKind::Type(ty) => inner(ty),
        TypeDefKind::Handle(Handle::Borrow(id) | Handle::Own(id)) => {
            format!("handle {:?}", resolve.types[*id].name)
        }
        TypeDefKind::List(ty) => format!("list {}", inner(ty)),
        TypeDefKind::Option(ty) => format!("option {}", inner(ty)),
        TypeDefKind::Tuple(tuple) => {
            format!("({})", tuple.types.iter().map(inner).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Result(result) => format!("result {} {}", optional(&result.ok), optional(&result.err)),
        TypeDefKind::Enum(cases) => {
            format!("{:?}", cases.cases.iter().map(|case| &case.name).collect::<Vec<_>>())
        }
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{} {}", field.name, inner(&field.ty)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => format!("{:?} {other:?}", definition.name),
    }
}

#[test]
fn the_bindings_of_c_are_made_of_the_contract() {
    let object = fs::read(root().join("plugins/sdk-c/check_component_type.o")).unwrap();
    let (_, described) = wit_component::metadata::decode(&object).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("check")).unwrap();
    let expected = functions(&resolve, world);
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(
        functions(&described.resolve, described.world),
        expected,
        "make check.c, check.h and check_component_type.o anew: plugins/sdk-c/README.md says how"
    );
}

#[test]
fn the_examples_have_the_same_cases_and_pages() {
    let read = |path: &str| fs::read_to_string(root().join("examples/write-a-check").join(path)).unwrap();
    for language in ["c", "javascript", "python"] {
        for file in ["cases.toml", "pipeline.toml"] {
            assert!(
                read(&format!("{language}/{file}")) == read(&format!("rust/{file}")),
                "{language}/{file}"
            );
        }
    }
}

#[test]
fn examples_and_templates_name_the_same_tools() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    for (template, example, file) in [
        ("c", "c", "requirements.txt"),
        ("python", "python", "requirements.txt"),
        ("js", "javascript", "package.json"),
    ] {
        let tools = |text: String| {
            let lines = text.lines().filter(|line| line.contains("componentize") || line.contains("ziglang"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let expected = tools(read(&format!("plugins/templates/{template}/{file}")));
        assert!(!expected.is_empty(), "{file}");
        assert_eq!(tools(read(&format!("examples/write-a-check/{example}/{file}"))), expected);
    }
}
