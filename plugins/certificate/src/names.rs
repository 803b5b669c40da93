//! The names that a certificate is for.

/// The fact `cert.names`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names<'fact> {
    listed: Vec<&'fact str>,
    /// The fact ends in `(+3 more)`: it does not tell all.
    pub(crate) is_cut: bool,
}

impl<'fact> Names<'fact> {
    /// Takes the fact apart.
    pub(crate) fn parse(fact: &'fact str) -> Self {
        let (listed, is_cut) = match fact.split_once(" (+") {
            Some((listed, _)) => (listed, true),
            None => (fact, false),
        };
        Names { listed: listed.split(',').filter(|name| !name.is_empty()).collect(), is_cut }
    }

    /// Whether one of the listed names is, or covers, the wanted one. `*.shop.example` covers one
    /// label: `www.shop.example`, neither `shop.example` nor `a.b.shop.example` (RFC 9525).
    pub(crate) fn cover(&self, wanted: &str) -> bool {
        let wanted = wanted.strip_suffix('.').unwrap_or(wanted);
        self.listed.iter().any(|listed| {
            let beyond_star = listed.strip_prefix("*.");
            let beyond_label = wanted.split_once('.').filter(|(label, _)| !label.is_empty());
            listed.eq_ignore_ascii_case(wanted)
                || beyond_star
                    .zip(beyond_label)
                    .is_some_and(|(parent, (_, rest))| parent.eq_ignore_ascii_case(rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_covers_one_label() {
        let names = Names::parse("shop.example,*.Shop.example,192.0.2.7,2001:db8::1");
        assert!(!names.is_cut);
        for covered in [
            "shop.example",
            "SHOP.EXAMPLE.",
            "www.shop.example",
            "*.shop.example",
            "192.0.2.7",
            "2001:DB8::1",
        ] {
            assert!(names.cover(covered), "{covered}");
        }
        for other in ["", ".", ".shop.example", "a.b.shop.example", "example", "xshop.example", "192.0.2.70"]
        {
            assert!(!names.cover(other), "{other}");
        }
    }

    #[test]
    fn a_cut_list_is_known_as_such() {
        let names = Names::parse("a.example,b.example (+3 more)");
        assert!(names.is_cut && names.cover("b.example") && !names.cover("c.example"));
        assert_eq!(Names::parse(""), Names { listed: vec![], is_cut: false });
    }
}
