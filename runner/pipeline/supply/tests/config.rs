//! What is wrong with a dynamic source is told when the pipeline is built, and secrets are not.

use super::*;

const LISTING: &str = "[[sources]]\ntype = \"listing\"\nurl = \"https://a.example/\"\n";
const GROUPS: &str = "[[sources]]\ntype = \"http_sd\"\nurl = \"https://a.example/\"\n";

#[test]
fn what_is_wrong_is_told() {
    let cases = [
        (GROUPS, "every = \"10ms\"", "a source is looked at every 1s to every 366d"),
        (GROUPS, "timeout = \"2h\"", "a time-out is at least 10ms and at most 1h"),
        (GROUPS, "max_size = \"65MiB\"", "at least 1KiB and at most 64MiB"),
        (GROUPS, "headers = { \"a b\" = \"s3cret\" }", "\"a b\" is not a header name"),
        (GROUPS, "headers = { a = \"s3\\ncret\" }", "has a line break"),
        (GROUPS, "tls = { ca_file = \"none.pem\" }", "cannot be read: there is no such file"),
        (GROUPS, "item = {}", "unknown key \"item\""),
        (LISTING, "items = \"data.children\"", "did you mean \"/data/children\"?"),
        (LISTING, "items = \"$.[\"", "this is not a JSONPath as RFC 9535 has it"),
        (LISTING, "item = { labels = { \"a-b\" = \"/a\" } }", "\"a-b\" is not a name of a label"),
        (LISTING, "item = { link = \"/a\" }", "unknown key \"link\" in [sources.item]"),
        (LISTING, "max_pages = 0", "at least 1 and at most 1000 pages"),
        (LISTING, "page_param = \"after\"", "\"page_param\" needs \"next\""),
        (LISTING, "keep_for = \"1h\"", "\"keep_for\" is about new items"),
        (LISTING, "first = \"skip\"", "\"first\" is about new items"),
        (LISTING, "only_new = true\nkeep_for = \"1ms\"", "new items are kept for at least 1s"),
        ("[[sources]]\ntype = \"listing\"\n", "url = \"ftp://a\"", "scheme \"ftp\" is not supported"),
        (
            "[[sources]]\ntype = \"http_sd\"\n",
            "url = \"http://me:s3cret@a/\"",
            "holds a user name or a password",
        ),
        (
            "[[sources]]\ntype = \"stdin\"\n",
            "labels = { \"a b\" = \"x\" }",
            "\"a b\" is not a name of a label",
        ),
        (
            "[[sources]]\ntype = \"stdin\"\n[[sources]]\n",
            "type = \"stdin\"",
            "two sources read the standard input",
        ),
        ("[[sources]]\ntype = \"file_sd\"\n", "files = [\"a.yml\"]", "is YAML, which is not read"),
    ];
    for (source, line, expected) in cases {
        let told = plans(&format!("{source}{line}\n")).expect_err(line);
        assert!(told.contains(expected), "{line}:\n{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    let same = format!("{LISTING}only_new = true\n").repeat(2);
    assert!(plans(&same).unwrap_err().contains("two listings of new items are the same"));
}

#[test]
fn two_pipelines_cannot_share_the_standard_input() {
    let folder = TempDir::new().unwrap();
    let files = ["a.toml", "b.toml"].map(|name| folder.path().join(name));
    for file in &files {
        std::fs::write(file, "default_checks = false\n[[sources]]\ntype = \"stdin\"\n").unwrap();
    }
    let mut diagnostics = Diagnostics::default();
    let built = build_all(&files, &Workshop::new().unwrap(), &mut diagnostics);
    assert_eq!(built.len(), 1, "the first keeps it");
    let told = diagnostics.render(false);
    assert!(told.contains("a.toml:2:1") && told.contains("b.toml:2:1"), "both places are named:\n{told}");
}

#[test]
fn an_identity_is_that_of_the_configuration_secrets_included() {
    let identity = |text: &str| plans(text).unwrap()[0].identity;
    let with = |value: &str| format!("{GROUPS}headers = {{ token = \"{value}\" }}\n");
    assert_eq!(identity(&with("one")), identity(&format!("# moved\n\n{}", with("one"))));
    assert_ne!(identity(&with("one")), identity(&with("two")));
    assert_ne!(identity(GROUPS), identity(&format!("{GROUPS}every = \"5s\"\n")));
    let plan = &plans(&with("s3cret")).unwrap()[0];
    assert!(!format!("{plan:?}").contains("s3cret"));
}

#[test]
fn every_sample_can_be_used() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("targets")).unwrap();
    for (sample, plans) in [
        (crate::source::FILE_SD_SAMPLE, 0),
        (crate::source::HTTP_SD_SAMPLE, 1),
        (crate::source::LISTING_SAMPLE, 1),
        (crate::source::STDIN_SAMPLE, 1),
    ] {
        let found = plans_in(folder.path(), sample).unwrap_or_else(|told| panic!("{told}\n{sample}"));
        assert_eq!(found.len(), plans, "{sample}");
    }
}
