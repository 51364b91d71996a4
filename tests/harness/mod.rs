//! The whole service for one test, and the people who use it.

pub mod chromium;
pub mod cluster;

pub mod alerts;
pub mod app;
pub mod app_person;
pub mod canaries;
pub mod database;
pub mod dump;
pub mod effects;
pub mod fleet;
mod ground;
pub mod ingest;
pub mod ledger;
pub mod lossy;
mod npm;
pub mod oidc;
pub mod person;
pub mod processes;
pub mod referee;
pub mod said;
pub mod secrecy;
pub mod settings;
pub mod time;
pub mod web;
