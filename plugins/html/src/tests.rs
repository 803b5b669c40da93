//! The cases, and pages that nobody would write but somebody might send.

#![allow(clippy::unwrap_used, reason = "tests")]

use probity_check::{Status, TestObservation, parse_config};

use super::*;
use crate::selector::Selector;

#[test]
fn cases() {
    probity_check::cases::run::<Html>(include_str!("../cases.toml")).unwrap();
}

/// How many elements of a page match.
fn count(page: &str, selector: &str) -> u64 {
    let watch = Watch { selector: Selector::parse(selector).unwrap(), text: None, is_title: false };
    Page::read(page, &[watch]).notes[0].count
}

#[test]
fn selectors_match_what_css_says() {
    let page = r#"<div id=a class="x y"><p lang=en-GB data-k="a b">1<b>2</b></p><p class=X>3<i>4</i></p><hr>
        <section><p>5</p></section></div><p lang=en>6</p><div id="md:1" data-k></div>"#;
    for (selector, expected) in [
        ("*", 10),
        ("p", 4),
        ("P", 4),
        ("div p", 3),
        ("div > p", 2),
        ("div>p>b", 1),
        ("#a", 1),
        ("div#a.x.y", 1),
        (".x", 1),
        (".X", 1),
        ("p + p", 1),
        ("p ~ hr", 1),
        ("p + hr", 1),
        ("b + hr", 0),
        ("p ~ section p", 1),
        ("div ~ p", 1),
        ("div + p + div", 1),
        ("[data-k]", 2),
        ("[data-k='a b']", 1),
        ("[data-k=\"A B\" i]", 1),
        ("[data-k~=b]", 1),
        ("[data-k~=a][data-k~=b]", 1),
        ("[data-k^=a]", 1),
        ("[data-k$=b]", 1),
        ("[data-k*=' ']", 1),
        ("[data-k^='']", 0),
        ("[lang|=en]", 2),
        ("[lang|=e]", 0),
        ("#md\\:1", 1),
        ("b, i, section p, nothing", 3),
        ("p , p", 4),
        (" div \n p ", 3),
        ("section div", 0),
        ("div div", 0),
    ] {
        assert_eq!(count(page, selector), expected, "{selector}");
    }
    for wrong in [
        "",
        " ",
        ",",
        "a,",
        ",a",
        "a >",
        "> a",
        "a..b",
        "#",
        ".",
        "[",
        "[]",
        "[a",
        "[a=",
        "[a=b",
        "[a='b]",
        "[a!=b]",
        "a:hover",
        "a::before",
        ":not(a)",
        "a b)",
        "a|b",
        "**",
        "*a",
        "1 /",
    ] {
        assert!(Selector::parse(wrong).is_err(), "{wrong}");
    }
    assert!(Selector::parse(&"a ".repeat(16)).is_ok() && Selector::parse(&"a ".repeat(17)).is_err());
}

#[test]
fn a_tag_at_the_end_that_is_cut_is_none() {
    assert_eq!(count("<p><b class='x", "b"), 0);
    assert_eq!(count("<p></", "p"), 1);
}

#[test]
fn foreign_elements_may_close_themselves() {
    let page =
        "<svg><title/><style/><script/><g><path/><foreignObject><p>a</p></foreignObject></svg><h1>b</h1>";
    assert_eq!(count(page, "h1"), 1);
    assert_eq!(count(page, "svg h1"), 0);
    assert_eq!(count(page, "svg p"), 1);
    assert_eq!(count(page, "g > path"), 1);
}

/// Judges a page with one assertion of every kind.
fn judge(page: &str) -> Verdict {
    let config = r#"{"title":{"contains":"x"},"present":["a b > c","[x*=y]"],"absent":["q ~ r"],
        "text":[{"select":"div","equals":"never"},{"select":"*","matches":"^never$"}],
        "count":[{"select":"i","max":1000000}],"mixed_content":"fail"}"#;
    let check = Html::configure(parse_config(config).unwrap()).unwrap();
    check.run(&TestObservation::new().status(200).body(page)).unwrap()
}

/// Less than a body may have: tests are compiled without optimisation.
const PAGE_BYTES: usize = 64 << 10;

#[test]
fn hostile_pages_end_in_a_verdict_soon() {
    let long = |text: &str| text.repeat(PAGE_BYTES / text.len());
    for page in [
        long("<div>"),
        long("<div>x"),
        long("</div>"),
        long("<p>"),
        long("<b><i>"),
        long("<a></b>"),
        long("<li><ul>"),
        long("<table><td>"),
        long("<svg>"),
        long("<"),
        long("<!"),
        long("<!--"),
        long("&"),
        long("&#x10ffff;"),
        long("\0"),
        long("<a b"),
        format!("<a {}>", long("b=c ")),
        format!("<a b='{}'>", long("x")),
        format!("<img srcset='{}'>", long("h ")),
        format!("<{}>", long("a")),
        format!("<title>{}", long("x ")),
        format!("<script>{}", long("<script>")),
        format!("{}{}", "<div>".repeat(512), long("x ")),
        long("\u{feff}é<é>"),
    ] {
        let verdict = judge(&page);
        assert_eq!(verdict.status, Status::Fail, "{}", verdict.message);
    }
}

#[test]
fn what_is_too_deep_is_counted_and_ends_in_its_order() {
    let page = format!("{}<b>x</b>{}<h1>y</h1>", "<div>".repeat(2_000), "</div>".repeat(2_000));
    assert_eq!(count(&page, "b"), 1);
    assert_eq!(count(&page, "div"), 2_000);
    assert_eq!(count(&page, "div h1"), 0);
}

/// Any bytes end in a verdict: pieces of tags in an order made by a small generator.
#[test]
fn pages_at_random_end_in_a_verdict() {
    let pieces = [
        "<",
        ">",
        "/",
        "</",
        "<p",
        "<div",
        "<td>",
        "<table>",
        "<li>",
        "</ul>",
        "<svg",
        "<title",
        "</title>",
        "=",
        "'",
        "\"",
        " ",
        "x",
        "<!--",
        "-->",
        "&amp",
        ";",
        "<script>",
        "</script>",
        "<b>",
        "</b>",
        "<select><option>",
        "<a ",
        "src=http://a",
        "<br/>",
        "é",
        "\0",
        "<math>",
        "</p>",
        "<body>",
        "<template>",
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..3_000 {
        let mut page = String::new();
        for _ in 0..40 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            page.push_str(pieces[usize::try_from(seed % pieces.len() as u64).unwrap()]);
        }
        judge(&page);
    }
}
