//! `probity sample`: every kind has a sample, and every sample is right.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::Project;

/// The kinds of a list of tables, by the schema of pipeline files.
fn kinds(list: &str) -> Vec<String> {
    let schema: Value =
        serde_json::from_str(&Project::new().run_plain(&["sample", "schema"]).expect_code(0).stdout).unwrap();
    let kinds = schema["properties"][list]["items"]["anyOf"].as_array().unwrap();
    kinds.iter().map(|kind| kind["properties"]["type"]["const"].as_str().unwrap().to_owned()).collect()
}

fn sample(arguments: &[&str]) -> String {
    let arguments: Vec<_> = ["sample"].iter().chain(arguments).copied().collect();
    Project::new().run_plain(&arguments).expect_code(0).stdout
}

#[track_caller]
fn is_valid(text: &str) -> Project {
    let project = Project::with_pipeline(text);
    // What samples name.
    project.write("pipelines/targets/shop.csv", "url\nhttps://shop.example/\n");
    project.write("pipelines/targets/shop.json", "[{ \"targets\": [\"shop.example:8080\"] }]");
    let finished = project.run_plain(&["validate"]).expect_code(0);
    assert_eq!(finished.stderr, "", "{text}");
    project
}

#[test]
fn every_kind_of_source_and_sink_has_a_sample_that_is_right() {
    const SOURCE: &str = "[[sources]]\ntargets = [\"https://shop.example/\"]\n";
    for kind in kinds("sources") {
        is_valid(&sample(&["source", &kind]));
    }
    for kind in kinds("sinks") {
        is_valid(&format!("{SOURCE}{}", sample(&["sink", &kind])));
    }
    is_valid(&format!("{SOURCE}{}", sample(&["sink"])));
    assert_eq!(sample(&["source"]).matches("[[sources]]").count(), kinds("sources").len());
    let schema = sample(&["schema"]);
    let generated = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/schema.json");
    assert_eq!(schema, fs::read_to_string(generated).unwrap());
}

#[test]
fn every_bundled_check_has_a_sample_that_is_right() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/prebuilt");
    for entry in fs::read_dir(readme).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        // `together` is named by no pipeline: it has others as its parts.
        if path.extension().is_some_and(|ending| ending == "wasm") && name != "together" {
            let text = sample(&["check", name]);
            is_valid(&format!("[[sources]]\ntargets = [\"https://shop.example/\"]\n{text}"));
        }
    }
}

#[test]
fn the_sample_of_a_pipeline_is_right_and_its_tests_hold() {
    let text = sample(&["pipeline"]);
    assert!(text.starts_with("#:schema "), "{text}");
    is_valid(&text).run_plain(&["test"]).expect_code(0);
    let told = Project::new().run_plain(&["sample", "check", "boddy"]).expect_code(2).stderr;
    assert!(told.contains("did you mean \"body\"?"), "{told}");
}

/// The pipelines that come with the program are right, and so are the tests in them.
#[test]
fn the_tests_of_our_own_pipelines_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["pipelines", "examples/first-probe"] {
        let project = Project::new();
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "toml" || ending == "csv") {
                let name = path.file_name().unwrap().to_str().unwrap();
                project.write(&format!("pipelines/{name}"), fs::read(&path).unwrap());
            }
        }
        let told = project.run_plain(&["test"]).expect_code(0).stdout;
        assert!(told.contains("ok      ") && told.contains("all ok"), "{folder}: {told}");
    }
}
