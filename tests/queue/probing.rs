//! One breaker under eight processes at once.

use std::process::Stdio;

use drop_common::resilience::breaker::Breaker;
use drop_tests::database::TestDatabase;
use futures_util::future::join_all;
use sqlx::PgPool;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    breaker::{KEY, a_minute_passes, open},
    database::guarded,
};

const ROUNDS: i64 = 200;
const PROCESSES: usize = 8;

/// A `drop-node breaker`. It is killed when this is dropped.
struct Process {
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(url: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_drop-node"))
            .arg("breaker")
            .env_clear()
            .env("DATABASE_URL", url)
            .env("RUST_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            asks: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// What it answers to the line.
    async fn does(&mut self, line: &str) -> String {
        self.asks.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.answers.next_line().await.unwrap().expect("an answer")
    }
}

/// What each of them answers, all asked at once.
async fn all_do(processes: &mut [Process], line: &str) -> Vec<String> {
    join_all(processes.iter_mut().map(|process| process.does(line))).await
}

/// Runs the test over a database of its own and eight processes.
async fn with_processes<T: Future<Output = ()> + Send + 'static>(test: impl FnOnce(PgPool, String) -> T) {
    let database = TestDatabase::new().await;
    let result = guarded(test(database.pool.clone(), database.url())).await;
    database.remove().await;
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// How many of the reports found it open, and how many opened it or kept it open.
fn open_and_opened(heard: &str) -> (usize, usize) {
    let heard: Vec<bool> = heard.split(' ').map(|word| word.parse().unwrap()).collect();
    let count = |at: usize| heard.chunks(2).filter(|report| report[at]).count();
    (count(0), count(1))
}

fn eight(url: &str) -> Vec<Process> {
    (0..PROCESSES).map(|_| Process::start(url)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn b1_in_two_hundred_rounds_failures_that_are_reported_at_once_open_it_exactly_once() {
    with_processes(|db, url| async move {
        let (breaker, mut processes) = (Breaker::new(db.clone()), eight(&url));
        for round in 0..ROUNDS {
            let epoch = 2 * round;
            let heard = all_do(&mut processes, &format!("fail {epoch}")).await.join(" ");
            assert_eq!(
                open_and_opened(&heard),
                (2 * PROCESSES - 2, 1),
                "all but the first two heard that it is open, and one that it opened it, in round {round}"
            );
            let state = breaker.state(KEY).await.unwrap();
            assert_eq!(
                (state.open, state.epoch),
                (true, epoch + 1),
                "one transition, in round {round}"
            );
            a_minute_passes(&db).await;
            let probe = breaker.probe(KEY).await.unwrap().expect("nobody else probes");
            assert!(breaker.close(KEY, probe.id).await.unwrap());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_in_two_hundred_half_open_rounds_one_of_eight_processes_may_probe() {
    with_processes(|db, url| async move {
        open(&db).await;
        let (mut processes, mut epoch) = (eight(&url), 1);
        for round in 0..ROUNDS {
            a_minute_passes(&db).await;
            let answers = all_do(&mut processes, "probe").await;
            let probes: Vec<_> = answers.iter().enumerate().filter(|(_, said)| *said != "none").collect();
            assert_eq!(probes.len(), 1, "round {round}");
            let (prober, (id, in_epoch)) = (probes[0].0, probes[0].1.split_once(' ').unwrap());
            assert_eq!(in_epoch, epoch.to_string());
            if round % 2 == 0 {
                // It fails, and whoever says so later says nothing new: one minute more.
                let heard = processes[prober].does(&format!("fail {epoch} {id}")).await;
                assert_eq!(open_and_opened(&heard), (2, 1), "round {round}");
                epoch += 1;
            } else {
                // Its process dies and says nothing: another may probe when its time is over.
                if round % 20 == 1 {
                    processes[prober].child.kill().await.unwrap();
                    processes[prober] = Process::start(&url);
                }
                assert!(all_do(&mut processes, "probe").await.iter().all(|said| said == "none"));
                let over = sqlx::query("UPDATE breaker SET probe_until = clock_timestamp() WHERE probe_id::text = $1");
                assert_eq!(over.bind(id).execute(&db).await.unwrap().rows_affected(), 1);
            }
        }
    })
    .await;
}
