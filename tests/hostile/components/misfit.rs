//! Guests that speak the contract's binary interface, and speak it badly: wild pointers and lengths, memory
//! that is given twice or not at all, answers that are none, strings in every encoding. What their code
//! does besides is little; what they pass is where a host goes wrong.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::abi::{Import, contract};
use super::chance::Chance;

const PAGE: u32 = 1 << 16;

/// A guest of this chance, as a component.
pub(super) fn component(chance: &mut Chance) -> Vec<u8> {
    let encoding = chance.pick(&[StringEncoding::UTF8, StringEncoding::UTF16, StringEncoding::CompactUTF16]);
    let wildness = chance.pick(&[3, 10, 40, 1_000]);
    let text = Misfit { chance, wildness, pages: 0 }.module();
    let mut core = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let contract = contract();
    embed_component_metadata(&mut core, &contract.resolve, contract.world, encoding).expect("types");
    let mut encoder = ComponentEncoder::default().module(&core).expect("a module for the contract");
    encoder.encode().expect("a component")
}

struct Misfit<'a> {
    chance: &'a mut Chance,
    /// What it passes is wild once in so many times.
    wildness: u32,
    /// Pages of memory at the start.
    pages: u32,
}

impl Misfit<'_> {
    fn module(mut self) -> String {
        self.pages = 1 + self.chance.below(3);
        let mut text = "(module\n".to_owned();
        for (number, import) in contract().imports.iter().enumerate() {
            let Import { module, name, params, result, .. } = import;
            let result = result.map(|ty| format!("(result {ty})")).unwrap_or_default();
            let params = params.join(" ");
            let _ = writeln!(
                text,
                "(import \"{module}\" \"{name}\" (func $i{number} (param {params}) {result}))"
            );
        }
        let most = if self.chance.one_in(4) { " 20" } else { "" };
        let _ = writeln!(text, "(memory (export \"memory\") {}{most})", self.pages);
        text += "(global $free (mut i32) (i32.const 16384)) (global $asked (mut i32) (i32.const 0))\n";
        text +=
            "(global $seen (mut i32) (i32.const 0)) (table $t 4 funcref) (elem (i32.const 0) $idle $deep)\n";
        text += "(func $idle) (func $deep (if (i32.lt_u (memory.size) (i32.const 9)) (then (call $deep))))\n";
        self.data(&mut text);
        self.realloc(&mut text);
        self.exports(&mut text);
        text.push(')');
        text
    }

    /// What lies in memory: text, what is none, and numbers that look like pointers.
    fn data(&mut self, text: &mut String) {
        for _ in 0..self.chance.below(4) {
            let count = self.chance.below(200) as usize;
            let bytes = match self.chance.below(4) {
                0 => self.chance.bytes(count),
                1 => "aé🐟\0\u{1b}".repeat(count / 8).into_bytes(),
                2 => "aé🐟".repeat(count / 8).encode_utf16().flat_map(u16::to_le_bytes).collect(),
                _ => {
                    let place = self.chance.place(self.pages * PAGE).to_le_bytes();
                    [place, self.chance.length().to_le_bytes()].concat().repeat(count / 8)
                }
            };
            let bytes: String = bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "\\{byte:02x}");
                text
            });
            let _ = writeln!(text, "(data (i32.const {}) \"{bytes}\")", 2_048 + self.chance.below(6_000));
        }
    }

    /// How the host gets memory: rightly, but for some of the times.
    fn realloc(&mut self, text: &mut String) {
        *text += "(func (export \"cabi_realloc\") (param $old i32) (param $had i32) (param $align i32) (param $want i32) (result i32)\n";
        *text += "(global.set $asked (i32.add (global.get $asked) (i32.const 1)))\n";
        for _ in 0..self.chance.below(3) {
            // The first time is for the text of the configuration.
            let time = if self.chance.one_in(10) { 1 } else { 2 + self.chance.below(9) };
            let deed = match self.chance.below(10) {
                0 => "unreachable".to_owned(),
                1 => "(return (local.get $old))".to_owned(),
                2 => "(drop (memory.grow (i32.const 1)))".to_owned(),
                3 => "(return (i32.sub (i32.mul (memory.size) (i32.const 65536)) (local.get $want)))"
                    .to_owned(),
                4 => "(return (i32.add (i32.const 16385) (local.get $align)))".to_owned(),
                5 => self.call(),
                6 => format!("(global.set $free (i32.const {}))", self.address()),
                7 => "(loop $ever (br $ever))".to_owned(),
                _ => format!("(return (i32.const {}))", self.address()),
            };
            let _ = writeln!(text, "(if (i32.eq (global.get $asked) (i32.const {time})) (then {deed}))");
        }
        *text += "
            (local.set $old (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
            (global.set $free (i32.add (local.get $old) (local.get $want)))
            (block $enough
              (loop $more
                (br_if $enough (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
                (br_if $enough (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
                (br $more)))
            (local.get $old))\n";
    }

    fn exports(&mut self, text: &mut String) {
        // Most of them get as far as `run`.
        let describe = if self.chance.one_in(10) {
            self.answer()
        } else {
            "(i32.store (i32.const 1264) (i32.const 1280)) (i32.store (i32.const 1268) (i32.const 0)) (i32.const 1264)".to_owned()
        };
        let configure = if self.chance.one_in(8) {
            format!("{} {}", self.deeds(3), self.answer())
        } else {
            "(i32.store (i32.const 1200) (i32.const 0)) (i32.const 1200)".to_owned()
        };
        let run = format!("(global.set $seen (local.get $lent)) {} {}", self.deeds(12), self.answer());
        let exports = [
            ("manifest", "describe", "", describe),
            ("checker", "configure", "(param $config i32) (param $length i32)", configure),
            ("checker", "run", "(param $lent i32)", run),
        ];
        for (interface, name, params, body) in exports {
            let name = format!("probity:check/{interface}@0.1.0#{name}");
            let _ = writeln!(text, "(func (export \"{name}\") {params} (result i32) {body})");
            if self.chance.one_in(if interface == "checker" && name.ends_with("run") { 4 } else { 30 }) {
                let deeds = self.deeds(2);
                let _ = writeln!(text, "(func (export \"cabi_post_{name}\") (param i32) {deeds})");
            }
        }
        if self.chance.one_in(30) {
            let _ = writeln!(text, "(func $start {}) (start $start)", self.deeds(2));
        }
    }

    /// Up to so many things to do, one after the other.
    fn deeds(&mut self, most: u32) -> String {
        (0..self.chance.below(most + 1)).map(|_| self.deed() + "\n").collect()
    }

    fn deed(&mut self) -> String {
        match self.chance.below(16) {
            0 => format!("(drop (memory.grow (i32.const {})))", self.chance.below(20)),
            1 => format!(
                "(i32.store (i32.const {}) (i32.const {}))",
                self.inside(),
                self.chance.number() as u32
            ),
            2 => format!("(i64.store (i32.const {}) (i64.const {}))", self.address(), self.chance.number()),
            3 => {
                let (to, from, length) = (self.inside(), self.inside(), self.chance.below(3_000));
                format!("(memory.copy (i32.const {to}) (i32.const {from}) (i32.const {length}))")
            }
            4 => format!("(global.set $asked (i32.const {}))", self.chance.below(9)),
            5 => "(call_indirect (i32.const 0))".to_owned(),
            6 if self.chance.one_in(8) => format!("(call_indirect (i32.const {}))", self.chance.below(6)),
            7 if self.chance.one_in(20) => "(loop $ever (br $ever))".to_owned(),
            _ => self.call(),
        }
    }

    /// A call of the host; what it gives is dropped.
    fn call(&mut self) -> String {
        let number = self.chance.below(contract().imports.len() as u32);
        let import = &contract().imports[number as usize];
        // Giving back what was lent ends most of what can be done with it.
        if import.name.starts_with("[resource-drop]") && !self.chance.one_in(6) {
            return String::new();
        }
        let mut text = format!("(call $i{number}");
        let count = import.params.len();
        for (at, param) in import.params.iter().enumerate() {
            let is_length = param == &"i32" && at + 1 < count && at % 2 == usize::from(!import.is_method);
            let value = match *param {
                "i32" if at == 0 && import.is_method && !self.is_wild() => {
                    text += " (global.get $seen)";
                    continue;
                }
                "i32" if is_length && !self.is_wild() => self.chance.below(60).to_string(),
                "i32" if is_length => self.chance.length().to_string(),
                "i32" if !self.is_wild() => (self.inside() & !7).to_string(),
                "i32" => self.address().to_string(),
                "f64" => f64::from_bits(self.chance.number()).to_bits().to_string(),
                _ => self.chance.number().to_string(),
            };
            let _ = match *param {
                "f64" => write!(text, " (f64.reinterpret_i64 (i64.const {value}))"),
                other => write!(text, " ({other}.const {value})"),
            };
        }
        text.push(')');
        if import.result.is_some() { format!("(drop {text})") } else { text }
    }

    /// What a function returns: a pointer to what is or is not an answer.
    fn answer(&mut self) -> String {
        let drop = contract().imports.iter().position(|import| import.name.starts_with("[resource-drop]"));
        let drop = match drop {
            Some(number) if !self.is_wild() => {
                format!("(if (global.get $seen) (then (call $i{number} (global.get $seen))))")
            }
            _ => String::new(),
        };
        if self.is_wild() {
            return format!("{drop} (i32.const {})", self.address());
        }
        let at = 1_232;
        let kind = if self.is_wild() { self.chance.number() as u32 } else { self.chance.below(2) };
        let status = if self.is_wild() { self.chance.number() as u32 } else { self.chance.below(3) };
        // As a verdict, a status before the text; as an error, the text at once.
        let (place, length) = if self.is_wild() {
            (self.address(), self.chance.length())
        } else {
            (self.inside() & !1, self.chance.below(100))
        };
        let words = if kind == 1 { [place, length, length] } else { [status, place, length] };
        format!(
            "{drop} (i32.store (i32.const {at}) (i32.const {kind})) (i32.store (i32.const {}) (i32.const {}))
             (i32.store (i32.const {}) (i32.const {})) (i32.store (i32.const {}) (i32.const {})) (i32.const {at})",
            at + 4,
            words[0],
            at + 8,
            words[1],
            at + 12,
            words[2]
        )
    }

    fn is_wild(&mut self) -> bool {
        self.chance.one_in(self.wildness)
    }

    /// A place inside of the memory.
    fn inside(&mut self) -> u32 {
        if self.chance.one_in(4) {
            self.chance.below(self.pages * PAGE - 64)
        } else {
            2_048 + self.chance.below(6_000)
        }
    }

    /// A place that may be anywhere.
    fn address(&mut self) -> u32 {
        self.chance.place(self.pages * PAGE)
    }
}
