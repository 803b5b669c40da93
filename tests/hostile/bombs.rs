//! Plugins that are small to send and dear to compile (W5): each is valid in itself or refused by the
//! validator, and as large as it is asked to be.
#![allow(dead_code, reason = "each test binary uses some of it")]

use crate::core_module::{number, section, with_section};
use crate::wat_guest::Guest;

/// A kind of bomb.
pub(crate) struct Bomb {
    /// What there is too much of.
    pub(crate) what: &'static str,
    /// The section of the component that it is in.
    section: u8,
    /// Makes what is in the section, by how many of it there are.
    content: fn(u32) -> Vec<u8>,
    /// So many are an ordinary day's work.
    pub(crate) few: u32,
    /// So many are as many as the format or the size of a plugin allow, or more.
    pub(crate) most: u32,
}

impl Bomb {
    /// A plugin with `count` of them beside its ordinary module.
    pub(crate) fn component(&self, count: u32) -> Vec<u8> {
        with_section(Guest::PLAIN.component(), self.section, &(self.content)(count))
    }
}

const MODULE: u8 = 1;
const COMPONENT: u8 = 4;
const TYPES: u8 = 7;

const fn bomb(what: &'static str, section: u8, content: fn(u32) -> Vec<u8>, few: u32, most: u32) -> Bomb {
    Bomb { what, section, content, few, most }
}

/// Every kind. A function has at most 7,654,321 bytes.
pub(crate) const BOMBS: &[Bomb] = &[
    bomb("instructions in a row", MODULE, straight_line, 5_000, 1_090_000),
    bomb("branches in a row", MODULE, branches, 2_000, 1_090_000),
    bomb("values that live through nested loops", MODULE, live_values, 200, 40_000),
    bomb("locals", MODULE, locals, 50_000, 100_000),
    bomb("targets of a branch table", MODULE, branch_table, 5_000, 1_000_000),
    bomb("branch tables of 5,000 targets", MODULE, branch_tables, 2, 1_500),
    bomb("functions", MODULE, functions, 500, 1_000_000),
    bomb("nested blocks", MODULE, nested_blocks, 1_000, 2_500_000),
    bomb("nested loops", MODULE, nested_loops, 200, 1_000_000),
    bomb("calls with 1,000 arguments", MODULE, calls, 5, 2_500),
    bomb("types", MODULE, types, 1_000, 1_000_000),
    bomb("exports", MODULE, exports, 1_000, 1_000_000),
    bomb("entries of a table", MODULE, elements, 1_000, 9_000_000),
    bomb("data segments over 256 MiB", MODULE, data, 100, 100_000),
    bomb("components inside each other", COMPONENT, nested_components, 10, 200_000),
    bomb("doublings of a type", TYPES, doubled_type, 10, 1_000),
];

const I32: u8 = 0x7f;
const END: u8 = 0x0b;

/// Sections one after the other: number and content.
fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in sections {
        section(&mut bytes, *id, content);
    }
    bytes
}

/// A list: how many, then each of them.
fn list(count: u32, mut one: impl FnMut(u32, &mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, count.into());
    for index in 0..count {
        one(index, &mut bytes);
    }
    bytes
}

/// The code of a function without its length: its i32 locals, then its instructions.
fn body(locals: u32, code: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1];
    number(&mut bytes, locals.into());
    bytes.push(I32);
    bytes.extend_from_slice(code);
    bytes.push(END);
    bytes
}

/// A module of one function without parameters and results.
fn one_function(locals: u32, code: &[u8]) -> Vec<u8> {
    let mut functions = vec![1];
    let body = body(locals, code);
    number(&mut functions, body.len() as u64);
    functions.extend(body);
    module(&[(1, vec![1, 0x60, 0, 0]), (3, vec![1, 0]), (10, functions)])
}

fn local(code: &mut Vec<u8>, instruction: u8, index: u32) {
    code.push(instruction);
    number(code, index.into());
}

const GET: u8 = 0x20;
const SET: u8 = 0x21;

fn straight_line(count: u32) -> Vec<u8> {
    // local.set 0 (i32.add (local.get 0) (i32.const 7))
    one_function(1, &[GET, 0, 0x41, 7, 0x6a, SET, 0].repeat(count as usize))
}

fn branches(count: u32) -> Vec<u8> {
    // block (br_if 0 (local.get 0)) end
    one_function(1, &[0x02, 0x40, GET, 0, 0x0d, 0, END].repeat(count as usize))
}

fn live_values(count: u32) -> Vec<u8> {
    let loops = 8;
    let mut code = Vec::new();
    for _ in 0..loops {
        code.extend([0x03, 0x40]);
        for index in 0..count {
            local(&mut code, GET, index);
            local(&mut code, GET, (index + 1) % count);
            code.push(0x6a);
            local(&mut code, SET, index);
        }
    }
    for _ in 0..loops {
        // br_if 0 (local.get 0) end
        code.extend([GET, 0, 0x0d, 0, END]);
    }
    one_function(count, &code)
}

fn locals(count: u32) -> Vec<u8> {
    one_function(count, &[])
}

/// `br_table` on local 0 with `count` targets, all of them the innermost block.
fn table_of_branches(code: &mut Vec<u8>, count: u32) {
    code.extend([0x02, 0x40, GET, 0, 0x0e]);
    number(code, count.into());
    code.extend(std::iter::repeat_n(0, count as usize + 1));
    code.push(END);
}

fn branch_table(count: u32) -> Vec<u8> {
    let mut code = Vec::new();
    table_of_branches(&mut code, count);
    one_function(1, &code)
}

fn branch_tables(count: u32) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..count {
        table_of_branches(&mut code, 5_000);
    }
    one_function(1, &code)
}

fn functions(count: u32) -> Vec<u8> {
    let bodies = list(count, |_, bytes| bytes.extend([2, 0, END]));
    module(&[(1, vec![1, 0x60, 0, 0]), (3, list(count, |_, bytes| bytes.push(0))), (10, bodies)])
}

fn nested_blocks(count: u32) -> Vec<u8> {
    let mut code = [0x02, 0x40].repeat(count as usize);
    code.extend(std::iter::repeat_n(END, count as usize));
    one_function(1, &code)
}

fn nested_loops(count: u32) -> Vec<u8> {
    // Each may begin anew from its innermost point.
    let mut code = [0x03, 0x40].repeat(count as usize);
    for depth in 0..count {
        if depth % 16 == 0 {
            code.extend([GET, 0, 0x0d, 0]);
        }
        code.push(END);
    }
    one_function(1, &code)
}

fn calls(count: u32) -> Vec<u8> {
    let mut types = vec![2, 0x60, 0, 0, 0x60];
    for _ in 0..2 {
        number(&mut types, 1_000);
        types.extend([I32; 1_000]);
    }
    let mut code = Vec::new();
    for index in 0..1_000 {
        local(&mut code, GET, index);
    }
    code.extend([0x10, 1].repeat(count as usize));
    code.extend([0x1a; 1_000]);
    let (outer, inner) = (body(1_000, &code), [vec![0], [GET, 0].repeat(1_000), vec![END]].concat());
    let bodies = list(2, |index, bytes| {
        let body = if index == 0 { &outer } else { &inner };
        number(bytes, body.len() as u64);
        bytes.extend_from_slice(body);
    });
    module(&[(1, types), (3, vec![2, 0, 1]), (10, bodies)])
}

fn types(count: u32) -> Vec<u8> {
    // (func (param i32 i64 f32 f64 …)), each another.
    let types = list(count, |index, bytes| {
        bytes.extend([0x60, 20]);
        bytes.extend((0..20).map(|bit| 0x7c + ((index >> bit) & 1) as u8));
        bytes.push(0);
    });
    module(&[(1, types)])
}

fn exports(count: u32) -> Vec<u8> {
    let exports = list(count, |index, bytes| {
        let name = format!("e{index}");
        number(bytes, name.len() as u64);
        bytes.extend(name.as_bytes());
        bytes.extend([0, 0]);
    });
    module(&[(1, vec![1, 0x60, 0, 0]), (3, vec![1, 0]), (7, exports), (10, vec![1, 2, 0, END])])
}

fn elements(count: u32) -> Vec<u8> {
    let mut table = vec![1, 0x70, 0];
    number(&mut table, count.into());
    let mut segment = vec![1, 0, 0x41, 0, END];
    segment.extend(list(count, |_, bytes| bytes.push(0)));
    let functions = [(3, vec![1, 0]), (4, table), (9, segment), (10, vec![1, 2, 0, END])];
    module(&[&[(1, vec![1, 0x60, 0, 0])][..], &functions].concat())
}

fn data(count: u32) -> Vec<u8> {
    let step = (256 << 20) / u64::from(count);
    let segments = list(count, |index, bytes| {
        bytes.extend([0, 0x41]);
        signed(bytes, i64::try_from(u64::from(index) * step).unwrap_or(0));
        bytes.extend([END, 1, b'x']);
    });
    module(&[(5, vec![1, 0, 0x80, 0x20]), (11, segments)])
}

/// A signed number as the format writes it.
fn signed(bytes: &mut Vec<u8>, mut value: i64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn nested_components(count: u32) -> Vec<u8> {
    // From the inside out, written backwards: lengths come before what they count.
    let mut backwards = vec![0, 1, 0, 0x0d, b'm', b's', b'a', 0];
    for _ in 1..count {
        let mut length = Vec::new();
        number(&mut length, backwards.len() as u64);
        backwards.extend(length.iter().rev());
        backwards.push(4);
        backwards.extend([0, 1, 0, 0x0d, b'm', b's', b'a', 0]);
    }
    backwards.reverse();
    backwards
}

fn doubled_type(count: u32) -> Vec<u8> {
    // One instance type, in which types are numbered from 0, with a declaration a type.
    let types = list(count, |index, bytes| {
        // A type declaration: (tuple t t).
        bytes.extend([0x01, 0x6f, 2]);
        for _ in 0..2 {
            match index.checked_sub(1) {
                None => bytes.push(0x7d),
                Some(before) => signed(bytes, before.into()),
            }
        }
    });
    [vec![1, 0x42], types].concat()
}
