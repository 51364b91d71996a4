//! Our enqueue: one job a transaction, in one round trip.

use std::time::Duration;

use drop_common::queue::{self, EnqueueOptions, Enqueued};

use crate::{
    baseline::connections_each,
    database::Database,
    table::{Figure, Table, rate},
    worker::Bench,
};

pub(crate) async fn measure(database: &Database, jobs: usize, table: &mut Table) -> anyhow::Result<()> {
    for (figure, connections) in [(Figure::Enqueue8, 8), (Figure::Enqueue1, 1)] {
        database.empty().await?;
        let jobs = if connections == 1 { jobs / 8 } else { jobs };
        let seconds = connections_each(database, connections, jobs, async |connection| {
            let options = EnqueueOptions {
                delay: Duration::ZERO,
                ..EnqueueOptions::default()
            };
            let enqueued = queue::enqueue_alone(connection, &Bench { sent_at_us: 0 }, options).await?;
            anyhow::ensure!(matches!(enqueued, Enqueued::New(_)), "a job was not new");
            Ok(())
        })
        .await?;
        table.add(figure, rate(jobs, seconds));
    }
    Ok(())
}
