//! Aggregates: plain, ordered-set and hypothetical-set. No server function writes them, so every option is written
//! here.

use super::words::Named;
use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Grantable, Item, Object, Oid, Question, Rows, class, ident, literal, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "aggregates", questions: &[QUESTION], objects };

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

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
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

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    fn row(kind: &str, final_modify: &str, arguments: &str) -> String {
        serde_json::json!({
            "oid": "1", "schema": "s", "name": "Agg", "owner": "o", "arguments": arguments,
            "identity_arguments": arguments, "argument_types": null, "kind": kind, "parallel": "u", "transition": "int8inc",
            "state_type": "bigint", "state_space": 0, "initial": "it's", "final": "s.f", "final_extra": false,
            "final_modify": final_modify, "combine": null, "serialize": null, "deserialize": null,
            "moving_transition": null, "moving_inverse": null, "moving_state_type": null, "moving_state_space": 0,
            "moving_initial": null, "moving_final": null, "moving_final_extra": false, "moving_final_modify": "r",
            "sort_operator": {"schema": "S", "name": "<"},
        })
        .to_string()
    }

    #[test]
    fn an_aggregate_without_arguments_has_a_star_except_in_grant() {
        let objects = objects(&answers(&[row("n", "r", "")])).expect("the row has the right shape");
        assert_eq!(
            objects[0].whole.create,
            "CREATE AGGREGATE s.\"Agg\"(*) (\n    SFUNC = int8inc,\n    STYPE = bigint,\n    INITCOND = 'it''s',\n    \
             FINALFUNC = s.f,\n    SORTOP = OPERATOR(\"S\".<)\n);\n"
        );
        assert_eq!(objects[0].whole.tag, "Agg(*)");
        let grant = objects[0].targets[0].grant.as_ref().expect("aggregates have privileges");
        assert_eq!(grant.on, "FUNCTION s.\"Agg\"()");
    }

    #[test]
    fn what_a_final_function_may_do_is_said_only_where_the_kind_implies_otherwise() {
        for (kind, modify, said) in [
            ("n", "r", None),
            ("n", "w", Some("READ_WRITE")),
            ("o", "w", None),
            ("o", "r", Some("READ_ONLY")),
            ("h", "s", Some("SHAREABLE")),
        ] {
            let objects = objects(&answers(&[row(kind, modify, "integer")])).expect("the row has the right shape");
            let create = &objects[0].whole.create;
            assert_eq!(create.contains("FINALFUNC_MODIFY"), said.is_some(), "{kind} {modify}");
            assert!(said.is_none_or(|word| create.contains(word)), "{kind} {modify}");
        }
    }
}
