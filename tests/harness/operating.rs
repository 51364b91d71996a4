//! The operator's commands, as somebody at a terminal runs them.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

use crate::{app::TestApp, cluster::Role};

impl TestApp {
    /// What `drop-worker` prints, and whether it succeeded. `program` is `drop-node`, which has the same verbs.
    pub async fn operator(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        self.operator_as(Role::Worker, program, arguments).await
    }

    /// The same with the database's address as this role has it.
    pub async fn operator_as(&self, role: Role, program: &str, arguments: &[&str]) -> (bool, String) {
        operate(self.operating(role, program, arguments), "").await
    }

    /// The same with variables that this verb needs.
    pub async fn operator_with(
        &self,
        role: Role,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> (bool, String) {
        let mut command = self.operating(role, program, arguments);
        command.envs(variables.iter().copied());
        operate(command, "").await
    }

    /// The same with this to read.
    pub async fn operator_reading(&self, program: &str, arguments: &[&str], input: &str) -> (bool, String) {
        operate(self.operating(Role::Worker, program, arguments), input).await
    }

    fn operating(&self, role: Role, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .arg("operator")
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", self.url_as(role))
            .env("DROP_PROFILE", "local");
        command
    }
}

/// What a program prints, and whether it succeeded.
async fn operate(mut command: Command, input: &str) -> (bool, String) {
    let pipes = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut program = pipes.spawn().expect("drop-node runs");
    let mut stdin = program.stdin.take().expect("stdin is piped");
    // One that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = program.wait_with_output().await.expect("drop-node ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).expect("text"))
}
