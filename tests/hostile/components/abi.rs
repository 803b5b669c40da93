//! The contract as a core module sees it: what there is to import, and with which parameters. Read from
//! `wit/`, so that what the contract gains is tried as well.

use std::sync::OnceLock;

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, WorldId, WorldItem};

/// A function that the host has.
#[derive(Debug)]
pub(super) struct Import {
    /// The interface with its version.
    pub(super) module: String,
    /// The function's name there.
    pub(super) name: String,
    /// Its parameters, as text: `i32`, `f64`, …
    pub(super) params: Vec<&'static str>,
    /// Its result, if it has one.
    pub(super) result: Option<&'static str>,
    /// Whether its first parameter is an observation.
    pub(super) is_method: bool,
}

/// The contract, read once.
pub(super) struct Contract {
    pub(super) resolve: Resolve,
    pub(super) world: WorldId,
    pub(super) imports: Vec<Import>,
}

/// The contract of `wit/`.
pub(super) fn contract() -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("check.wit", &crate::wat_guest::wit()).expect("interface text");
        let world = resolve.select_world(&[package], Some("check")).expect("the world check");
        let imports = imports(&resolve, world);
        Contract { resolve, world, imports }
    })
}

fn imports(resolve: &Resolve, world: WorldId) -> Vec<Import> {
    let mut imports = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else { continue };
        let module = resolve.name_world_key(key);
        for function in resolve.interfaces[*id].functions.values() {
            imports.push(import(resolve, module.clone(), function));
        }
        for name in resolve.interfaces[*id].types.keys().filter(|name| *name == "observation") {
            imports.push(Import {
                module: module.clone(),
                name: format!("[resource-drop]{name}"),
                params: vec!["i32"],
                result: None,
                is_method: true,
            });
        }
    }
    imports
}

fn import(resolve: &Resolve, module: String, function: &Function) -> Import {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    Import {
        module,
        name: function.name.clone(),
        params: signature.params.iter().map(|ty| text(*ty)).collect(),
        result: signature.results.first().map(|ty| text(*ty)),
        is_method: function.name.starts_with("[method]"),
    }
}

fn text(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}
