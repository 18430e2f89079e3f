//! pgstow turns a PostgreSQL database into objects in a bucket, and back, without `pg_dump`.
//!
//! This file is the map. The rooms, in reading order, each opening with a door file that says what it is for, what it
//! may import and what is always true there:
//!
//! | room | holds | may import |
//! | --- | --- | --- |
//! | [`error`] | what failed, on which object, a hint, an exit code | nothing |
//! | [`model`] | nouns: addresses, names and quoting, questions, Items | error |
//! | [`objects`] | one file a kind of object: its question, its row, its DDL | error, model |
//! | [`facets`] | what any object can have: comments, privileges, labels | error, model |
//! | [`globals`] | what belongs to the server: roles, memberships, tablespaces, as a script | error, model |
//! | [`plan`] | order: graph, loops, sections, the ready set | error, model |
//! | [`stream`] | bytes: frames, codecs, digests, equal parts | error |
//! | [`archive`] | what lies in the bucket: keys, table of contents, manifest | error, model |
//! | [`store`] | where it lies: S3, a folder, memory | error, model |
//! | [`keep`] | which backups stay, whether they are healthy, what they cost; pure | error, archive, store |
//! | [`postgres`] | the only room that holds a connection | error, model |
//! | [`catalog`] | asks the questions and selects | error, model, objects, facets, globals, postgres |
//! | [`notify`] | telling how a job went: mail, webhooks, pings, text files | error, model |
//! | [`jobs`] | what is backed up, when, where to: `pgstow.toml`, scripts' environments | error, model, stream, store, keep, postgres, catalog, notify |
//! | [`commands`] | one file a verb | all of the above |
//! | [`cli`] | arguments, environment, terminal | all of the above |
//!
//! Arrows run downward only; `tests/it/tidy.rs` holds every `use crate::` against this table.

#![forbid(unsafe_code)]

pub mod archive;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod error;
pub mod facets;
pub mod globals;
pub mod jobs;
pub mod keep;
pub mod model;
pub mod notify;
pub mod objects;
pub mod plan;
pub mod postgres;
pub mod store;
pub mod stream;
