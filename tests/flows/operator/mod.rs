//! What operators do: by commands, and on the page of the worker's internal listener.

mod among_many;
mod arriving;
mod asking;
mod browser;
mod commands;
mod dead;
mod events;
mod every_form;
mod find;
mod forms;
mod page;
mod programs;
mod refused;
pub(crate) mod scene;
mod twins;
