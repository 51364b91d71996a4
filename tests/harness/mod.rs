//! The whole service for one test, and the people who use it.

pub mod chromium;
pub mod cluster;

pub mod aimed;
pub mod alerts;
pub mod app;
pub mod app_person;
pub mod canaries;
pub mod database;
pub mod dump;
pub mod effects;
pub mod fleet;
mod ground;
mod handed_out;
pub mod ingest;
pub mod ledger;
mod log_file;
pub mod lossy;
mod npm;
pub mod oidc;
mod operating;
pub mod person;
pub mod processes;
pub mod referee;
pub mod rollout;
pub mod said;
pub mod secrecy;
pub mod settings;
pub mod time;
pub mod web;
