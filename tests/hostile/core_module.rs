//! Core modules as bytes, where text would be too slow or too tame: numbers and sections as the binary
//! format has them, and no check of what they say.
#![allow(dead_code, reason = "each test binary uses some of it")]

/// Appends a number as the format writes it (LEB128).
pub(crate) fn number(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Appends a section, or anything else that begins with its length.
pub(crate) fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    number(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

/// A component with one more core module, which is compiled although nothing uses it.
pub(crate) fn with_module(component: Vec<u8>, module: &[u8]) -> Vec<u8> {
    with_section(component, 1, module)
}

/// A component with one more section.
pub(crate) fn with_section(mut component: Vec<u8>, id: u8, content: &[u8]) -> Vec<u8> {
    section(&mut component, id, content);
    component
}
