//! `pipelines/MISTAKES.md` is made of golden cases, so that it never says what the program does not.

use std::fmt::Write as _;
use std::fs;

use serde::Deserialize;

use crate::generated::is_fresh;
use crate::tree::root;

#[derive(Deserialize)]
struct Mistakes {
    mistakes: Vec<Mistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    case: String,
    title: String,
    telegraf: Option<String>,
    vector: Option<String>,
}

const INTRODUCTION: &str = "\
# Ten typical mistakes

What the program says of each, as `probity validate` prints it. All problems of all files are told at once, with
their place and what to do; no text that may be a secret is quoted. `probity explain CODE` tells more of a code, and
`probity validate --format json` tells the same to programs.

Where it was looked up in their sources, a line tells what Telegraf or Vector say of the like: from reading, not from
running them, and other versions may say something else.
";

#[test]
fn the_generated_page_of_mistakes_is_fresh() {
    let golden = root().join("tests/golden");
    let text = fs::read_to_string(golden.join("mistakes.toml")).unwrap();
    let Mistakes { mistakes } = toml::from_str(&text).unwrap();
    assert_eq!(mistakes.len(), 10);
    let mut page = INTRODUCTION.to_owned();
    for (at, Mistake { case, title, telegraf, vector }) in mistakes.iter().enumerate() {
        let folder = golden.join("config").join(case);
        let said = fs::read_to_string(folder.join("expected.txt")).unwrap();
        let said = said.split("--- stderr\n").nth(1).unwrap().split("--- exit code").next().unwrap();
        let mut files: Vec<_> =
            fs::read_dir(folder.join("pipelines")).unwrap().map(|f| f.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        files.sort();
        let _ = writeln!(page, "\n## {}. {title}\n", at + 1);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let text = text.trim_end();
            if !text.is_empty() {
                let _ = writeln!(page, "```toml\n{text}\n```\n");
            }
        }
        let _ = writeln!(page, "```text\n{}\n```", said.trim_end());
        for (who, what) in [("Telegraf", telegraf), ("Vector", vector)] {
            if let Some(what) = what {
                let _ = writeln!(page, "\n{who}: {what}.");
            }
        }
    }
    is_fresh("pipelines/MISTAKES.md", &page);
}
