//! Targets that come down a pipe, line by line.

use super::*;

fn read(pipe: &[u8]) -> (Vec<String>, Vec<String>) {
    let mut reader = LineReader::new(pipe);
    let lines = TargetLines::new(vec![("from".to_owned(), "pipe".to_owned())], parse_duration);
    let mut raw = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        raw.push(line);
    }
    let loaded = lines.read(raw);
    let one = |target: &Target| {
        let from = target.label("from").unwrap_or_default().to_owned();
        format!("{} {} {from}", target.name, target.url)
    };
    (loaded.targets.iter().map(one).collect(), shown(&loaded.problems))
}

#[test]
fn a_line_is_a_url_or_an_object() {
    let (targets, problems) = read(
        b"\xEF\xBB\xBFhttps://a.example/ # why\r\n\n# a comment\n  b.example\n\
          {\"url\": \"https://c.example/\", \"name\": \"c\", \"labels\": {\"from\": \"me\"}}\n\"d.example\"",
    );
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(
        targets,
        [
            "https://a.example/ https://a.example/ pipe",
            "http://b.example/ http://b.example/ pipe",
            "c https://c.example/ me",
            "http://d.example/ http://d.example/ pipe",
        ]
    );
}

#[test]
fn a_wrong_line_is_told_with_its_number_and_without_secrets() {
    let long = format!("http://a/{}\n", "x".repeat(2 << 20));
    let pipe = [
        b"http://user:s3cret@a/\n{\"url\": \"s3cret\"\n{\"uri\": \"http://s3cret/\"}\n\xFF\n[1]\nftp://x\n"
            .as_slice(),
        long.as_bytes(),
        b"http://last/",
    ]
    .concat();
    let (targets, problems) = read(&pipe);
    assert_eq!(targets, ["http://last/ http://last/ pipe"]);
    let lines: Vec<_> = problems.iter().map(|told| told.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["1", "2", "3", "3", "4", "5", "6", "7"], "{problems:#?}");
    assert!(!problems.concat().contains("s3cret"), "{problems:#?}");
}
