//! Bytes in JSON: text where they are valid UTF-8, `{"base64": "…"}` where they are not.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The key of an object that holds bytes which are no text.
const BASE64: &str = "base64";

/// Bytes that are text where they can be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AnyBytes(pub(super) Bytes);

impl Serialize for AnyBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(BASE64, &STANDARD.encode(&self.0))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for AnyBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = AnyBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or bytes in base64")
    }

    fn visit_str<E>(self, text: &str) -> Result<AnyBytes, E> {
        Ok(AnyBytes(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn visit_string<E>(self, text: String) -> Result<AnyBytes, E> {
        Ok(AnyBytes(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyBytes, A::Error> {
        let entry = map.next_entry::<String, String>()?;
        let Some((_, text)) = entry.filter(|(key, _)| key == BASE64) else {
            return Err(A::Error::custom("bytes are under \"base64\""));
        };
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom("bytes are under \"base64\" alone"));
        }
        STANDARD.decode(text).map(|bytes| AnyBytes(bytes.into())).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_the_rest_is_base64() {
        let cases: [(&[u8], &str); 4] = [
            (b"", r#""""#),
            ("a\"é\n".as_bytes(), r#""a\"é\n""#),
            (b"\xff\x00", r#"{"base64":"/wA="}"#),
            (br#"{"base64":"x"}"#, r#""{\"base64\":\"x\"}""#),
        ];
        for (bytes, text) in cases {
            let bytes = AnyBytes(Bytes::copy_from_slice(bytes));
            assert_eq!(serde_json::to_string(&bytes).unwrap(), text);
            assert_eq!(serde_json::from_str::<AnyBytes>(text).unwrap(), bytes);
        }
        for text in ["{}", r#"{"base64":"%"}"#, r#"{"hex":"ff"}"#, r#"{"base64":"","x":1}"#, "1", "null"] {
            assert!(serde_json::from_str::<AnyBytes>(text).is_err(), "{text}");
        }
    }
}
