pub mod cluster;

pub mod app;
pub mod person;
