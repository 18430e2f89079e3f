//! The waist of the hourglass: the Item, one entry of the table of contents, and the Object that a kind hands over.
//!
//! Above, kinds turn rows into [`Object`]s; below, nothing knows what a table is.

use super::{Address, Oid, one_line};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// When an Item runs. The order of the variants is the order of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Follows its parent wherever that is: comments, privileges, labels.
    None,
    /// Definitions that data needs.
    PreData,
    /// Rows, large objects, sequence values.
    Data,
    /// Indexes, constraints, triggers and what else is cheaper or safer once the rows are there.
    PostData,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableData {
    /// The table's oid.
    pub relation: Oid,
    /// The statement that reads the rows out: `COPY schema.table (a, b) TO STDOUT;` or a `COPY (SELECT ...) TO STDOUT;`.
    pub copy_out: String,
    /// The question that a condition on `ctid` can be added to: `SELECT a, b FROM ONLY schema.table`.
    pub select: String,
    /// Pages of the heap when the catalogs were read; 0 where the rows cannot be read in ranges of pages.
    pub pages: u64,
    /// Size of the heap plus TOAST in bytes, 0 where unknown. An estimate: for ordering, progress and part sizes only.
    pub estimated_bytes: u64,
    /// `reltuples`, 0 where unknown. An estimate, for progress only.
    pub estimated_rows: u64,
    /// Unlogged: cannot be read on a standby.
    pub unlogged: bool,
    /// The rows are another server's: nothing to lock, and reading them has to be allowed.
    pub foreign: bool,
}

/// Large objects, all in one Item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobsData {
    /// The oids, ascending.
    pub oids: Vec<Oid>,
}

/// What an Item carries besides its DDL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Payload {
    /// Nothing: the DDL is all.
    #[default]
    None,
    /// A table's rows; the Item's `copy` reads them back.
    Table(TableData),
    /// Large objects.
    Blobs(BlobsData),
    /// Fills its parent from what the parent is defined on (a materialized view's REFRESH): runs when all data is there,
    /// after the refreshes of what the parent depends on, directly or through others.
    Refresh,
}

/// One entry of the table of contents: DDL text, identity, section, edges.
///
/// The fields are those of pg_dump's archive (`pg_backup_archiver.h`, `struct _tocEntry`). Rules that stock
/// `pg_restore` relies on: `create` ends in `;\n`; `drop` is one statement `DROP <DESC> <qualified name>;\n` or empty;
/// neither ever says OWNER, TABLESPACE or USING of a table access method, which stand in their own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// pg_dump's word for the kind, such as `TABLE` or `FK CONSTRAINT`.
    pub desc: &'static str,
    /// The catalog row it stands for; default where there is none.
    pub address: Address,
    /// The name, unquoted, in the form that pg_dump gives this `desc`.
    pub tag: String,
    /// The schema, unquoted; `None` where the kind does not live in one.
    pub schema: Option<String>,
    /// The owner's role name, unquoted; `None` where the kind has none or the owner is not set by `ALTER ... OWNER TO`.
    pub owner: Option<String>,
    /// The tablespace, unquoted; `Some("")` is the database's default, `None` means not applicable.
    pub tablespace: Option<String>,
    /// The table access method; `None` means not applicable.
    pub access_method: Option<String>,
    /// `relkind` of a relation.
    pub relkind: Option<char>,
    /// When it runs; the plan may move it later.
    pub section: Section,
    /// Rows that definitions may need: they stand among those, although they are data.
    pub early: bool,
    /// The SQL that makes it; empty for pure data.
    pub create: String,
    /// The SQL that removes it; empty where it goes with its parent.
    pub drop: String,
    /// For table data: `COPY schema.table (a, b) FROM stdin;\n`.
    pub copy: Option<String>,
    /// Catalog rows (with `sub` 0) that exist once this Item has run. The source of nearly all edges: `pg_depend` rows
    /// between provided addresses become edges between Items.
    pub provides: Vec<Address>,
    /// Edges that `pg_depend` does not record: addresses that must be provided before.
    pub needs: Vec<Address>,
    /// Edges that `pg_depend` records but this statement does not have (a sequence without its OWNED BY, say).
    pub ignores: Vec<Address>,
    /// What it carries besides DDL.
    pub payload: Payload,
}

impl Item {
    /// A pre-data Item with nothing but a name; callers fill in the rest by struct update.
    pub fn new(desc: &'static str, address: Address, schema: Option<&str>, tag: impl Into<String>) -> Self {
        Item {
            desc,
            address,
            tag: tag.into(),
            schema: schema.map(str::to_owned),
            owner: None,
            tablespace: None,
            access_method: None,
            relkind: None,
            section: Section::PreData,
            early: false,
            create: String::new(),
            drop: String::new(),
            copy: None,
            provides: if address == Address::default() { Vec::new() } else { vec![address.whole()] },
            needs: Vec::new(),
            ignores: Vec::new(),
            payload: Payload::None,
        }
    }

    /// For messages: `table public.customer`.
    pub fn label(&self) -> String {
        label(self.desc, self.schema.as_deref(), &self.tag)
    }
}

/// For messages: `table public.customer`; line breaks in hostile names become spaces.
pub fn label(desc: &str, schema: Option<&str>, tag: &str) -> String {
    let name = match schema {
        Some(schema) => format!("{schema}.{tag}"),
        None => tag.to_owned(),
    };
    one_line(&format!("{} {name}", desc.to_lowercase()))
}

/// How privileges on something are granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grantable {
    /// The words after ON, with the quoted name: `TABLE public.t`, `FUNCTION public.f(integer)`, `SCHEMA s`.
    pub on: String,
    /// The owner, unquoted: the default grantor. Empty where a restore does not set it, so that the copy's owner is whoever
    /// restores.
    pub owner: String,
}

/// The columns of a relation or composite type, so that facets can be about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The relation's `pg_class` oid: column facets are recorded under it, also for composite types.
    pub relation: Oid,
    /// The relation's qualified, quoted name: `public.t`.
    pub qualified: String,
    /// `attnum` and unquoted name of each live column.
    pub names: Vec<(i32, String)>,
}

/// Something a facet (comment, privilege, security label) can be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The catalog row, without a column.
    pub address: Address,
    /// The words after COMMENT ON and SECURITY LABEL ON: `TABLE public.t`, `FUNCTION public.f(integer)`,
    /// `CONSTRAINT c ON public.t`, all quoted.
    pub on: String,
    /// The tag of the facet's entry, as pg_dump gives it: `TABLE t`, `FUNCTION f(integer)`, `CONSTRAINT c ON t`.
    pub tag: String,
    /// Set when it can have privileges of its own.
    pub grant: Option<Grantable>,
    /// Set when it has columns.
    pub columns: Option<Columns>,
}

/// Where an object belongs, for selection by schema and table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Belongs {
    /// The schema whose selection takes the object along.
    pub schema: Option<String>,
    /// The table, view, sequence... that takes the object along: itself, or the one it hangs on (index, trigger, rule).
    pub relation: Option<Oid>,
    /// The table whose selection takes an owned sequence along.
    pub owned_by: Option<Oid>,
}

/// How an object opens inside a loop: a head first, then parts; every part needs the head. Together they provide what the
/// whole provides. Few objects ever open, so the Items are made when one does.
#[derive(Clone, Default)]
pub struct Opening(Option<Arc<dyn Fn() -> Vec<Item> + Send + Sync>>);

impl Opening {
    /// An object that opens into the Items that `make` gives.
    pub fn into_items(make: impl Fn() -> Vec<Item> + Send + Sync + 'static) -> Self {
        Opening(Some(Arc::new(make)))
    }

    /// Whether the object can open.
    pub fn is_possible(&self) -> bool {
        self.0.is_some()
    }

    /// The head and the parts; nothing where it cannot open.
    pub fn items(&self) -> Vec<Item> {
        self.0.as_ref().map(|make| make()).unwrap_or_default()
    }

    /// Changes the Items, once they are made.
    pub fn change(&mut self, change: impl Fn(&mut [Item]) + Send + Sync + 'static) {
        self.0 = self.0.take().map(|make| -> Arc<dyn Fn() -> Vec<Item> + Send + Sync> {
            Arc::new(move || {
                let mut items = make();
                change(&mut items);
                items
            })
        });
    }
}

impl From<Vec<Item>> for Opening {
    fn from(items: Vec<Item>) -> Self {
        if items.is_empty() { Opening::default() } else { Opening::into_items(move || items.clone()) }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opening").field(&self.items()).finish()
    }
}

/// What a kind hands to the plan: one statement outside loops, several inside.
#[derive(Debug, Clone)]
pub struct Object {
    /// Everything in one statement; in a box, for it goes from list to list, and is large.
    pub whole: Box<Item>,
    /// How it opens inside a loop, if it can.
    pub opened: Opening,
    /// What facets can be about. Every address that can have a comment, a privilege or a label has a target.
    pub targets: Vec<Target>,
    /// For selection.
    pub belongs: Belongs,
    /// Place of its kind in the list of kinds; set by the catalog, breaks ties in the order.
    pub rank: usize,
}

impl Object {
    /// An object that is one statement wherever it stands.
    pub fn simple(whole: Item, belongs: Belongs) -> Self {
        Object { whole: Box::new(whole), opened: Opening::default(), targets: Vec::new(), belongs, rank: 0 }
    }

    /// Adds a target.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        // Nearly all have one, and the room for four is more than the rest of the object takes.
        self.targets.reserve_exact(1);
        self.targets.push(target);
        self
    }

    /// The object in its kind's place, without room that it does not use: of very many, that is a third of all they hold.
    #[must_use]
    pub fn ranked(mut self, rank: usize) -> Self {
        self.rank = rank;
        self.targets.shrink_to_fit();
        self.whole.create.shrink_to_fit();
        self.whole.provides.shrink_to_fit();
        self.whole.needs.shrink_to_fit();
        self
    }
}

/// One row of `pg_depend`, columns dropped: `from` needs `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Depend {
    /// The dependent row.
    pub from: Address,
    /// What it depends on.
    pub to: Address,
}
