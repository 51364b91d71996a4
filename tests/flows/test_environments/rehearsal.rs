//! The rehearsal of `tests/README.md`, whose three terminals are read from there: what is written down is what is played.

use std::process::Command;

use clap::Parser as _;
use drop_sandbox::{Arguments, Sandbox};
use drop_tests::person::browser;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
/// Where the two are by the text. Every run here has ports of its own.
const API: &str = "127.0.0.1:8080";
const SANDBOX: &str = "127.0.0.1:9100";

fn readme() -> String {
    std::fs::read_to_string(README).expect("it is there")
}

/// What is typed into each terminal.
fn terminals() -> [String; 3] {
    let readme = readme();
    let (_, rehearsal) = readme.split_once("### To rehearse it").expect("there is a rehearsal");
    let blocks = rehearsal.split("```sh\n").skip(1);
    let typed = blocks.filter_map(|block| Some(block.split_once("```")?.0.replace("\\\n", "")));
    typed.collect::<Vec<_>>().try_into().expect("there are three terminals")
}

/// The simulated providers of the first one, for an API at this address.
pub(super) async fn providers(api: &str) -> Sandbox {
    let [first, ..] = terminals();
    let (program, arguments) = first.split_once(" -- ").unwrap();
    assert_eq!(program, "cargo run -p drop-sandbox");
    let arguments = arguments.replace(API, api);
    let typed = [program, "--listen", "127.0.0.1:0"].into_iter();
    let arguments = Arguments::try_parse_from(typed.chain(arguments.split_whitespace())).unwrap();
    Sandbox::start(arguments.into_config())
        .await
        .expect("the sandbox starts")
}

/// The variables of the second one.
pub(super) fn variables(api: &str, sandbox: &str) -> Vec<(String, String)> {
    let [_, second, _] = terminals();
    let exported = second.lines().find_map(|line| line.strip_prefix("export ")).unwrap();
    let pairs = exported.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let here = |value: &str| value.replace(API, api).replace(SANDBOX, sandbox);
    pairs.map(|(name, value)| (name.to_owned(), here(value))).collect()
}

#[test]
fn each_command_of_the_readme_runs_the_flows_that_it_is_for() {
    let readme = readme();
    let commands = readme
        .lines()
        .filter_map(|line| line.strip_prefix("cargo test -p drop-tests --test flows -- --ignored"));
    let typed: Vec<Vec<&str>> = commands.map(|rest| rest.split_whitespace().collect()).collect();
    assert_eq!(
        typed,
        [vec!["--test-threads=1", "test_environments"], vec!["at_all_three"]]
    );
    for (filter, flows) in [
        ("test_environments", 4),
        ("at_bankid", 1),
        ("at_neonomics", 1),
        ("at_sumsub", 1),
        ("at_all_three", 1),
    ] {
        assert!(readme.contains(&format!("`{filter}`")) || typed.iter().flatten().any(|word| *word == filter));
        let program = std::env::current_exe().unwrap();
        let listed = Command::new(program)
            .args(["--ignored", "--list", filter])
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let run = listed.lines().filter(|line| line.ends_with(": test")).count();
        assert_eq!(run, flows, "{filter}: {listed}");
    }
}

#[tokio::test]
async fn what_stands_for_sumsubs_dashboard_approves_the_user_whom_it_names() {
    let user = "usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697";
    // Nobody takes its webhooks.
    let sandbox = providers("127.0.0.1:1").await;
    let at = sandbox.url();
    let at = at.trim_start_matches("http://");
    let variables = variables("127.0.0.1:1", at);
    let value = |wanted| {
        variables
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value)
            .unwrap()
    };
    let applicant = browser().post(format!("{}/resources/applicants", value("SUMSUB_BASE_URL")));
    let applicant = applicant.bearer_auth(value("SUMSUB_APP_TOKEN"));
    let applicant = applicant.json(&json!({ "externalUserId": user, "levelName": "basic-kyc-level" }));
    assert_eq!(applicant.send().await.unwrap().status(), 201);

    let [.., third] = terminals();
    let third = third.replace(SANDBOX, at).replace("usr_…", user);
    let (address, body) = third.strip_prefix("curl ").unwrap().split_once(" -d ").unwrap();
    let body = body.trim().trim_matches('\'').to_owned();
    // As curl sends it.
    let reviewed = browser().post(format!("http://{address}"));
    let reviewed = reviewed
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body);
    let answer = reviewed.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    let result = sandbox.sumsub().applicant_of(user).unwrap().review_result.unwrap();
    assert_eq!(result["reviewAnswer"], "GREEN");
    sandbox.stop().await.unwrap();
}
