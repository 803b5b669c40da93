//! WebAssembly, read and written as bytes: sections, numbers, imports. For what the encoder does not tell, and for
//! what it cannot change.

/// Why bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(pub(super) &'static str);

const CUT_OFF: Unreadable = Unreadable("it ends too early");

/// One section of a module or of a component, and where it stands.
pub(super) struct Section<'a> {
    pub(super) id: u8,
    pub(super) content: &'a [u8],
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The sections behind the header.
pub(super) fn sections(binary: &[u8]) -> Result<Vec<Section<'_>>, Unreadable> {
    let mut read = Reader { bytes: binary, at: 8 };
    let mut found = Vec::new();
    while read.at < binary.len() {
        let from = read.at;
        let id = read.byte()?;
        let content = read.sized()?;
        found.push(Section { id, content, from, to: read.at });
    }
    Ok(found)
}

/// The section of a core module that holds its imports.
pub(super) const IMPORTS: u8 = 2;

/// What a core module imports.
pub(super) struct Import<'a> {
    pub(super) module: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) kind: ImportKind,
}

/// The kinds of imports, as far as they are told apart here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportKind {
    /// A function, with the index of its type.
    Function(u32),
    Global,
    Other,
}

/// The imports in their order.
pub(super) fn imports(content: &[u8]) -> Result<Vec<Import<'_>>, Unreadable> {
    let mut read = Reader::new(content);
    let mut found = Vec::new();
    for _ in 0..read.number()? {
        let (module, name) = (read.sized()?, read.sized()?);
        let kind = match read.byte()? {
            0 => ImportKind::Function(read.number()?),
            1 => {
                read.byte()?;
                read.limits()?;
                ImportKind::Other
            }
            2 => {
                read.limits()?;
                ImportKind::Other
            }
            3 => {
                read.byte()?;
                read.byte()?;
                ImportKind::Global
            }
            _ => return Err(Unreadable("an import of a kind that is not known")),
        };
        found.push(Import { module, name, kind });
    }
    Ok(found)
}

/// Appends a section.
pub(super) fn put_section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    put_sized(out, content);
}

/// Appends bytes behind their count.
pub(super) fn put_sized(out: &mut Vec<u8>, content: &[u8]) {
    out.extend(number(content.len() as u32));
    out.extend_from_slice(content);
}

/// An unsigned number as WebAssembly writes it: seven bits a byte, the lowest first.
pub(super) fn number(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Reads bytes from their begin to their end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let byte = *self.bytes.get(self.at).ok_or(CUT_OFF)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u32, Unreadable> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unreadable("a number is too long"))
    }

    /// Bytes behind their count.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.number()? as usize;
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..length)).ok_or(CUT_OFF)?;
        self.at += length;
        Ok(bytes)
    }

    /// The limits of a table or of a memory.
    fn limits(&mut self) -> Result<(), Unreadable> {
        let has_most = self.byte()? & 1 == 1;
        self.number()?;
        if has_most {
            self.number()?;
        }
        Ok(())
    }
}
