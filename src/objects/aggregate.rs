//! Aggregates: plain, ordered-set and hypothetical-set. No server function writes them, so every option is written here.

use super::words::Named;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Grantable, Item, Object, Oid, Question, class, ident, literal, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "aggregates", question: QUESTION, objects };

const QUESTION: Question = Question(
    "SELECT p.oid, n.nspname AS schema, p.proname AS name, pg_get_userbyid(p.proowner) AS owner,
  pg_get_function_arguments(p.oid) AS arguments,
  pg_get_function_identity_arguments(p.oid) AS identity_arguments,
  (SELECT string_agg(format_type(t.type, NULL), ', ' ORDER BY t.place)
    FROM unnest(p.proargtypes) WITH ORDINALITY AS t(type, place)) AS argument_types,
  a.aggkind AS kind, p.proparallel AS parallel,
  a.aggtransfn::text AS transition, format_type(a.aggtranstype, NULL) AS state_type, a.aggtransspace AS state_space,
  a.agginitval AS initial, nullif(a.aggfinalfn::oid, 0)::regproc::text AS final, a.aggfinalextra AS final_extra,
  a.aggfinalmodify AS final_modify,
  nullif(a.aggcombinefn::oid, 0)::regproc::text AS combine, nullif(a.aggserialfn::oid, 0)::regproc::text AS serialize,
  nullif(a.aggdeserialfn::oid, 0)::regproc::text AS deserialize,
  nullif(a.aggmtransfn::oid, 0)::regproc::text AS moving_transition,
  nullif(a.aggminvtransfn::oid, 0)::regproc::text AS moving_inverse,
  CASE WHEN a.aggmtranstype <> 0 THEN format_type(a.aggmtranstype, NULL) END AS moving_state_type,
  a.aggmtransspace AS moving_state_space, a.aggminitval AS moving_initial,
  nullif(a.aggmfinalfn::oid, 0)::regproc::text AS moving_final, a.aggmfinalextra AS moving_final_extra,
  a.aggmfinalmodify AS moving_final_modify,
  (SELECT json_build_object('schema', s.nspname, 'name', o.oprname)
    FROM pg_operator o JOIN pg_namespace s ON s.oid = o.oprnamespace WHERE o.oid = a.aggsortop) AS sort_operator
FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)",
);

#[derive(Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: String,
    arguments: String,
    identity_arguments: String,
    argument_types: Option<String>,
    /// `pg_aggregate.aggkind`: `n`, `o` or `h`.
    kind: char,
    /// `pg_proc.proparallel`: `u`, `r` or `s`.
    parallel: char,
    transition: String,
    state_type: String,
    state_space: i32,
    initial: Option<String>,
    #[serde(rename = "final")]
    final_function: Option<String>,
    final_extra: bool,
    final_modify: char,
    combine: Option<String>,
    serialize: Option<String>,
    deserialize: Option<String>,
    moving_transition: Option<String>,
    moving_inverse: Option<String>,
    moving_state_type: Option<String>,
    moving_state_space: i32,
    moving_initial: Option<String>,
    moving_final: Option<String>,
    moving_final_extra: bool,
    moving_final_modify: char,
    sort_operator: Option<Named>,
}

impl Row {
    /// What a final function may do to the state, where it is not what the kind of aggregate implies
    /// (CREATE AGGREGATE, `FINALFUNC_MODIFY`).
    fn modify(&self, modify: char) -> Option<String> {
        let implied = if self.kind == 'n' { 'r' } else { 'w' };
        let word = match modify {
            's' => "SHAREABLE",
            'w' => "READ_WRITE",
            _ => "READ_ONLY",
        };
        (modify != implied).then(|| word.to_owned())
    }

    /// Settings with a value, and settings that are a word.
    fn settings(&self) -> Vec<String> {
        let space = |bytes: i32| (bytes != 0).then(|| bytes.to_string());
        let valued = [
            ("SFUNC", Some(self.transition.clone())),
            ("STYPE", Some(self.state_type.clone())),
            ("SSPACE", space(self.state_space)),
            ("INITCOND", self.initial.as_deref().map(literal)),
            ("FINALFUNC", self.final_function.clone()),
            ("FINALFUNC_MODIFY", self.final_function.as_ref().and_then(|_| self.modify(self.final_modify))),
            ("COMBINEFUNC", self.combine.clone()),
            ("SERIALFUNC", self.serialize.clone()),
            ("DESERIALFUNC", self.deserialize.clone()),
            ("MSFUNC", self.moving_transition.clone()),
            ("MINVFUNC", self.moving_inverse.clone()),
            ("MSTYPE", self.moving_state_type.clone()),
            ("MSSPACE", space(self.moving_state_space)),
            ("MINITCOND", self.moving_initial.as_deref().map(literal)),
            ("MFINALFUNC", self.moving_final.clone()),
            ("MFINALFUNC_MODIFY", self.moving_final.as_ref().and_then(|_| self.modify(self.moving_final_modify))),
            ("SORTOP", self.sort_operator.as_ref().map(Named::operator)),
            (
                "PARALLEL",
                match self.parallel {
                    's' => Some("safe".to_owned()),
                    'r' => Some("restricted".to_owned()),
                    _ => None,
                },
            ),
        ];
        let mut settings: Vec<String> =
            valued.into_iter().filter_map(|(word, value)| value.map(|value| format!("{word} = {value}"))).collect();
        for (word, is_set) in [
            ("FINALFUNC_EXTRA", self.final_extra),
            ("MFINALFUNC_EXTRA", self.moving_final_extra),
            ("HYPOTHETICAL", self.kind == 'h'),
        ] {
            if is_set {
                settings.push(word.to_owned());
            }
        }
        settings
    }
}

/// An aggregate without arguments is written with a star.
fn or_star(arguments: &str) -> &str {
    if arguments.is_empty() { "*" } else { arguments }
}

fn objects(rows: &[String]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        let address = Address::new(class::FUNCTION, row.oid);
        let name = qualified(&row.schema, &row.name);
        let types = row.argument_types.as_deref().unwrap_or_default();
        let identity = or_star(&row.identity_arguments);
        let whole = Item {
            owner: Some(row.owner.clone()),
            create: format!(
                "CREATE AGGREGATE {name}({}) {};\n",
                or_star(&row.arguments),
                words::settings(&row.settings())
            ),
            drop: format!("DROP AGGREGATE {name}({identity});\n"),
            ..Item::new("AGGREGATE", address, Some(&row.schema), format!("{}({})", row.name, or_star(types)))
        };
        let signature = format!("{}({identity})", ident(&row.name));
        let mut target = words::target(address, "AGGREGATE", Some(&row.schema), &signature);
        // GRANT knows no aggregates: they are functions there, named by their types alone.
        target.grant = Some(Grantable { on: format!("FUNCTION {name}({types})"), owner: row.owner.clone() });
        objects.push(Object::simple(whole, words::in_schema(&row.schema)).with_target(target));
        Ok(())
    })
}
