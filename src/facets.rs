//! What any object can have, whatever its kind: comments, privileges, security labels, ties to extensions.
//!
//! May import: error, model. Always true here: facets find their object by [`Address`], never by kind; each facet asks one
//! question over all catalogs, whatever the number of objects.
//!
//! Architecture invariant: a facet row is never dropped in silence. A row whose object has no [`Subject`] comes back in
//! [`Facets::homeless`], and the catalog says why that may be.

pub mod comment;
pub mod extension;
pub mod label;
pub mod part;
pub mod privilege;

use crate::model::{Address, AddressMap, Item, Object, Oid, Section, Target, class, ident};
use std::collections::HashMap;

/// Something that facets are about, with what its entries repeat of their object.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The names and columns.
    pub target: &'a Target,
    /// The object's schema, unquoted.
    pub schema: Option<&'a str>,
    /// The object's owner, unquoted.
    pub owner: Option<&'a str>,
    /// The bare name, unquoted, that stands in tags before a column.
    pub name: &'a str,
    /// What the facet's entry needs: the object, or the extension that makes it.
    pub parent: Address,
    /// What it needs as well, where several things make it.
    pub also: &'a [Address],
}

/// A subject, or one column of it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The object.
    pub subject: Subject<'a>,
    /// The column's unquoted name, where the facet is a column's.
    pub column: Option<&'a str>,
    /// Whether it is about the array type that comes with the subject.
    pub array: bool,
}

/// Everything that facets may be about, found by address.
#[derive(Debug, Default)]
pub struct Subjects<'a> {
    by_address: AddressMap<Subject<'a>>,
    by_relation: HashMap<Oid, Subject<'a>>,
}

impl<'a> Subjects<'a> {
    /// The targets of these objects.
    pub fn of(objects: &'a [Object]) -> Self {
        let mut subjects = Subjects::default();
        subjects.by_address.reserve(objects.iter().map(|object| object.targets.len()).sum());
        for object in objects {
            subjects.add(object, None);
        }
        subjects
    }

    /// Adds an object's targets. `parent` replaces the object itself as what the entries need.
    pub fn add(&mut self, object: &'a Object, parent: Option<Address>) {
        for target in &object.targets {
            let subject = Subject {
                target,
                schema: object.whole.schema.as_deref(),
                owner: object.whole.owner.as_deref(),
                name: &object.whole.tag,
                parent: parent.unwrap_or(target.address),
                also: &[],
            };
            self.by_address.insert(target.address, subject);
            if let Some(columns) = &target.columns {
                self.by_relation.insert(columns.relation, subject);
            }
        }
    }

    /// Things that are made along with others.
    pub fn of_parts(parts: &'a [part::Part]) -> Self {
        let mut subjects = Subjects::default();
        for part in parts {
            let Some((&parent, also)) = part.holders.split_first() else { continue };
            let (target, schema) = (&part.target, Some(part.schema.as_str()));
            let subject = Subject { target, schema, owner: None, name: &part.name, parent, also };
            subjects.by_address.insert(target.address, subject);
        }
        subjects
    }

    /// What this address means, if it is a subject or a live column of one.
    pub fn find(&self, address: Address) -> Option<Place<'a>> {
        if address.sub == 0 {
            return self.by_address.get(&address).map(|subject| Place::of(*subject, None));
        }
        if address.class != class::RELATION {
            return None;
        }
        let subject = self.by_relation.get(&address.object)?;
        let names = &subject.target.columns.as_ref()?.names;
        let user = names.iter().find(|(number, _)| *number == address.sub).map(|(_, name)| name.as_str());
        Some(Place::of(*subject, Some(user.or_else(|| system_column(address.sub))?)))
    }

    /// What this address means, if it is a subject, a live column of one, or the array type that came with `element`.
    pub fn find_or_array(&self, address: Address, element: Option<Oid>) -> Option<Place<'a>> {
        let Some(element) = element else { return self.find(address) };
        let place = self.find(Address::new(class::TYPE, element))?;
        Some(Place { array: true, ..place })
    }
}

impl<'a> Place<'a> {
    fn of(subject: Subject<'a>, column: Option<&'a str>) -> Self {
        Place { subject, column, array: false }
    }

    /// The words after COMMENT ON and SECURITY LABEL ON.
    fn on(&self) -> String {
        if self.array {
            return array_of(&self.subject.target.on);
        }
        match (self.column, &self.subject.target.columns) {
            (Some(column), Some(columns)) => format!("COLUMN {}.{}", columns.qualified, ident(column)),
            _ => self.subject.target.on.clone(),
        }
    }

    /// The tag of the entry.
    fn tag(&self) -> String {
        if self.array {
            return array_of(&self.subject.target.tag);
        }
        self.column_tag().unwrap_or_else(|| self.subject.target.tag.clone())
    }

    /// `COLUMN t.c`, where it is a column.
    fn column_tag(&self) -> Option<String> {
        self.column.map(|column| format!("COLUMN {}.{}", ident(self.subject.name), ident(column)))
    }

    /// An entry beside its parent.
    fn item(&self, desc: &'static str, tag: String, create: String) -> Item {
        Item {
            owner: self.subject.owner.map(str::to_owned),
            section: Section::None,
            create,
            needs: std::iter::once(self.subject.parent).chain(self.subject.also.iter().copied()).collect(),
            ..Item::new(desc, Address::default(), self.subject.schema, tag)
        }
    }
}

/// The column that every table has under this number (`src/include/access/sysattr.h`).
fn system_column(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 6] = ["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"];
    NAMES.get(usize::try_from(-1 - number).ok()?).copied()
}

/// `TYPE s.t[]` of `TYPE s.t` and of `DOMAIN s.t`.
fn array_of(element: &str) -> String {
    format!("TYPE {}[]", element.split_once(' ').map_or(element, |(_, name)| name))
}

/// What a facet made of its rows.
#[derive(Debug, Default)]
pub struct Facets {
    /// One entry for each subject or column that has the facet.
    pub items: Vec<Item>,
    /// The rows whose object is not among the subjects.
    pub homeless: Vec<Address>,
}

#[cfg(test)]
pub(crate) mod fixture {
    //! One table with two columns, for the tests of all facets.

    use crate::model::{Address, Belongs, Columns, Grantable, Item, Object, Oid, Target, class};

    /// Table `"S".t` with columns 1 `id` and 3 `odd name`, oid 20000, owned by ann.
    pub(crate) fn table() -> Object {
        let address = Address::new(class::RELATION, Oid(20_000));
        let item = Item { owner: Some("ann".to_owned()), ..Item::new("TABLE", address, Some("S"), "t") };
        Object::simple(item, Belongs::default()).with_target(Target {
            address,
            on: "TABLE \"S\".t".to_owned(),
            tag: "TABLE t".to_owned(),
            grant: Some(Grantable { on: "TABLE \"S\".t".to_owned(), owner: "ann".to_owned() }),
            columns: Some(Columns {
                relation: Oid(20_000),
                qualified: "\"S\".t".to_owned(),
                names: vec![(1, "id".to_owned()), (3, "odd name".to_owned())],
            }),
        })
    }
}
