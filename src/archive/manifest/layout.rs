//! How the manifest is laid out as text.

use serde_json::ser::{Formatter, PrettyFormatter};
use std::io;

/// Indented JSON, except that an array within an array stays on its line: those are frames, and there may be many.
#[derive(Default)]
pub(super) struct Layout {
    indented: PrettyFormatter<'static>,
    /// For every array and object that is open, whether it is an array.
    open: Vec<bool>,
}

impl Layout {
    fn within_array_of_arrays(&self) -> bool {
        self.open.ends_with(&[true, true])
    }
}

impl Formatter for Layout {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.push(true);
        if self.within_array_of_arrays() { writer.write_all(b"[") } else { self.indented.begin_array(writer) }
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let on_one_line = self.within_array_of_arrays();
        self.open.pop();
        if on_one_line { writer.write_all(b"]") } else { self.indented.end_array(writer) }
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !self.within_array_of_arrays() {
            return self.indented.begin_array_value(writer, first);
        }
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.within_array_of_arrays() { Ok(()) } else { self.indented.end_array_value(writer) }
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.push(false);
        self.indented.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.pop();
        self.indented.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.indented.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.indented.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.indented.end_object_value(writer)
    }
}
