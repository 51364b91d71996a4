//! Faults of processes, connections, the database and handlers. After each: every job is done with one effect, none is
//! left running, and no worker has ended but the one that was killed.

mod connections;
mod handlers;
mod outage;
mod processes;
mod scene;
mod shipped;
mod silence;
