//! Listings: JSON of the shape of Reddit's `new.json`, RSS 2.0, RSS 1.0 and Atom.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::json;

use super::*;
use crate::config::parse_duration;

fn shape(parts: &[(&str, &str)]) -> ListingShape {
    let mut shape = ListingShape::default();
    for (key, text) in parts {
        let locator = Locator::parse(text).unwrap();
        match *key {
            "items" => shape.items = Some(locator),
            "url" => shape.url = Some(locator),
            "name" => shape.name = Some(locator),
            "id" => shape.id = Some(locator),
            "next" => shape.next = Some(locator),
            label => shape.labels.push((label.to_owned(), locator)),
        }
    }
    shape
}

struct Read {
    /// `id name url label=value` of every item.
    items: Vec<String>,
    /// `number: what` of what was left out.
    wrong: Vec<String>,
    next: Option<String>,
}

fn try_read(shape: ListingShape, document: &[u8]) -> Result<Read, String> {
    let base = Url::parse("https://list.example/r/all/new.json").unwrap();
    let mut listing = Listing::new(Arc::new(shape), parse_duration);
    let next = listing.read_page(document, None, &base)?;
    let (items, problems) = listing.finish();
    let one = |item: &ListedItem| {
        let labels: Vec<_> =
            item.target.labels.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{} {} {}{}", item.id, item.target.name, item.target.url, labels.concat())
    };
    let wrong = |problem: &SourceProblem| format!("{}: {}", problem.place.line, problem.what);
    Ok(Read {
        items: items.iter().map(one).collect(),
        wrong: problems.list.iter().map(wrong).collect(),
        next,
    })
}

#[track_caller]
fn read(shape: ListingShape, document: impl AsRef<[u8]>) -> Read {
    try_read(shape, document.as_ref()).unwrap()
}

#[test]
fn a_listing_of_reddits_shape_is_read() {
    let child = |id: &str, title: &str, url: &str| {
        json!({ "kind": "t3", "data": { "id": id, "name": format!("t3_{id}"), "title": title, "url": url,
            "permalink": format!("/r/rust/comments/{id}/x/"), "subreddit": "rust", "ups": 7, "over_18": false } })
    };
    let document = json!({ "kind": "Listing", "data": { "after": "t3_b", "children": [
        child("a", "  First\n post ", "https://a.example/x#y"),
        child("b", "", "/r/rust/b"),
        child("a", "again", "https://a.example/again"),
    ] } });
    let taken = read(
        shape(&[
            ("items", "/data/children"),
            ("url", "/data/url"),
            ("name", "/data/title"),
            ("id", "$.data.name"),
            ("next", "/data/after"),
            ("sub", "/data/subreddit"),
            ("ups", "/data/ups"),
            ("none", "/data/none"),
        ]),
        document.to_string(),
    );
    assert_eq!(
        taken.items,
        [
            "t3_a First post https://a.example/x sub=rust ups=7",
            "t3_b https://list.example/r/rust/b https://list.example/r/rust/b sub=rust ups=7",
        ]
    );
    assert_eq!((taken.wrong.len(), taken.next.as_deref()), (0, Some("t3_b")));

    let permalinks =
        read(shape(&[("items", "$.data.children[*].data"), ("url", "/permalink")]), document.to_string());
    assert_eq!(
        permalinks.items[0],
        "https://list.example/r/rust/comments/a/x/ https://list.example/r/rust/comments/a/x/ \
         https://list.example/r/rust/comments/a/x/"
    );
    assert_eq!(permalinks.items.len(), 2, "without an id, the URL is what an item is known again by");
}

#[test]
fn the_shortest_listings_need_no_words() {
    assert_eq!(read(shape(&[]), r#"["a", "https://b.example/"]"#).items.len(), 2);
    assert_eq!(
        read(shape(&[]), r#" [{ "url": "c" }]"#).items,
        ["https://list.example/r/all/c ".repeat(3).trim()]
    );
    assert!(read(shape(&[]), "[]").items.is_empty());
    assert_eq!(read(shape(&[("next", "/next")]), "[]").next, None);
}

#[test]
fn items_that_are_wrong_are_left_out_and_the_others_stay() {
    let document = json!([
        { "url": "javascript:void(0)" }, { "link": "x" }, { "url": 5 }, 7, { "url": "" },
        { "url": "https://user:s3cret@a.example/" }, { "url": "a b" }, { "url": "/ok", "l": ["x"] }, { "url": "/ok" },
    ]);
    let taken = read(shape(&[("lab", "/l")]), document.to_string());
    assert_eq!(taken.items.len(), 1);
    assert_eq!(
        taken.wrong,
        [
            "1: \"javascript:...\" is not an http or https URL",
            "2: there is nothing at \"/url\"",
            "3: \"/url\" is a number, not a URL",
            "4: there is nothing at \"/url\"",
            "5: the URL is empty",
            "6: \"https://a.example/\" holds a user name or a password",
            "7: the URL holds a space or a control character",
            "8: label \"lab\": \"/l\" is an array",
        ]
    );
    let no_id = read(shape(&[("id", "/id")]), r#"[{ "url": "/a" }, { "url": "/b", "id": 5 }]"#);
    assert_eq!(no_id.items.len(), 1);
    assert!(no_id.wrong[0].contains("to know the item again by"), "{:?}", no_id.wrong);
}

#[test]
fn names_are_cut_and_told_apart() {
    let long = "x".repeat(300);
    let document = json!([
        { "u": "/1", "n": long }, { "u": "/2", "n": "weekly" }, { "u": "/3", "n": "weekly" }, { "u": "/2", "n": "weekly", "i": 1 },
    ]);
    let taken = read(shape(&[("url", "/u"), ("name", "/n"), ("id", "/u")]), document.to_string());
    let names: Vec<&str> = taken.items.iter().map(|item| item.split(' ').nth(1).unwrap()).collect();
    assert_eq!(names[0].chars().count(), 256);
    assert!(names[0].ends_with('…'));
    assert_eq!(names[1..], ["weekly", "https://list.example/3"]);
}

#[test]
fn feeds_need_no_words() {
    let rss = r#"<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY bomb "x">]>
        <rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel><title>All</title>
        <atom:link rel="next" href="?page=2"/>
        <item><title>R&amp;D &#x41; <![CDATA[<b>]]></title><link>https://a.example/1?x=1&amp;y=2</link>
            <guid isPermaLink="false">id-1</guid><dc:creator>Ann</dc:creator><enclosure url="/1.mp3" length="5"/></item>
        <item><title>A & B &bomb;</title><link> /2 </link></item>
        <item><title>No link</title></item></channel></rss>"#;
    let taken = read(shape(&[("by", "/dc:creator"), ("file", "/enclosure@url")]), rss);
    assert_eq!(
        taken.items,
        [
            "id-1 R&D A <b> https://a.example/1?x=1&y=2 by=Ann file=/1.mp3",
            "https://list.example/2 A & B &bomb; https://list.example/2",
        ]
    );
    assert_eq!(taken.wrong, ["3: there is nothing at \"/link\""]);
    assert_eq!(taken.next.as_deref(), Some("?page=2"));

    let atom = r#"<a:feed xmlns:a="http://www.w3.org/2005/Atom"><a:link rel="self" href="/self"/><a:link rel="next" href="/p2"/>
        <a:entry><a:id>tag:1</a:id><a:title type="html">One</a:title><a:link rel="edit" href="/edit"/>
        <a:link href="1"/><a:content><div><p>deep <b>text</b></p></div></a:content></a:entry></a:feed>"#;
    let taken = read(shape(&[("text", "/content")]), atom);
    assert_eq!(taken.items, ["tag:1 One https://list.example/r/all/1 text=deep text"]);
    assert_eq!(taken.next.as_deref(), Some("/p2"));

    let rdf = r#"<rdf:RDF><channel rdf:about="x"><items/></channel>
        <item rdf:about="https://a.example/i"><title>Old</title><link>https://a.example/i</link></item></rdf:RDF>"#;
    assert_eq!(read(shape(&[]), rdf).items, ["https://a.example/i Old https://a.example/i"]);
    let empty = "<rss><channel><title>none</title></channel></rss>";
    assert!(read(shape(&[]), empty).items.is_empty());
}

#[test]
fn what_is_no_listing_is_refused_in_plain_words() {
    let deep = format!("<rss>{}", "<a>".repeat(300));
    let cases: [(&str, &str); 13] = [
        ("", "the document is empty"),
        ("s3cret", "this is not JSON"),
        ("[1,", "this is not JSON: EOF while parsing"),
        ("{}", "the document is an object, not an array of items; say with \"items\" where they stand"),
        ("5", "the document is a number"),
        ("<html><body>s3cret</body></html>", "\"html\" is neither an RSS nor an Atom document"),
        (
            "<rss><channel>\n<item><title>s3cret</channel></rss>",
            "line 2: an end tag does not match its begin",
        ),
        ("<rss><channel>", "it ends in the middle"),
        ("<rss><channel", "markup is not closed"),
        ("<rss><a>&#xD800;</a></rss>", "a reference to a character is not well-formed"),
        ("<!-- nothing -->", "it has no element"),
        ("<rss><item><a b=c></a></item></rss>", "an attribute is not well-formed"),
        (&deep, "elements stand within more than 256 others"),
    ];
    for (document, expected) in cases {
        let told = try_read(shape(&[]), document.as_bytes()).err().unwrap_or_default();
        assert!(told.contains(expected), "{document}: {told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    let told = try_read(shape(&[("items", "/data")]), br#"{ "error": "s3cret" }"#).err().unwrap();
    assert_eq!(told, "there is nothing at \"/data\" in the document");
    let told = try_read(shape(&[("items", "/data")]), b"<rss></rss>").err().unwrap();
    assert!(told.contains("\"items\" is for JSON"), "{told}");
}

#[test]
fn entities_are_never_expanded() {
    let mut document = String::from("<!DOCTYPE rss [<!ENTITY a \"aaaaaaaaaa\">");
    for level in 'b'..='j' {
        let inner = char::from(level as u8 - 1);
        let ten = format!("&{inner};").repeat(10);
        document.extend(["<!ENTITY ", &level.to_string(), " \"", &ten, "\">"]);
    }
    document.push_str("]><rss><item><title>&j;</title><link>/x</link></item></rss>");
    assert_eq!(read(shape(&[]), document).items, ["https://list.example/x &j; https://list.example/x"]);
}
