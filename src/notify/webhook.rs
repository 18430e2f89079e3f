//! Webhooks: one POST of JSON.

use super::event::{Event, Moment};
use super::http::Target;
use super::template::Template;
use crate::error::{Error, Kind, Result};
use serde_json::{Value, json};

/// What is posted.
#[derive(Debug, Clone)]
pub enum Body {
    /// The whole [`Event`].
    Event,
    /// What Slack, Mattermost and Rocket.Chat take.
    Slack,
    /// What Discord takes.
    Discord,
    /// A body of the user's.
    Template(Template),
}

/// A webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where it is.
    pub target: Target,
    /// What it takes.
    pub body: Body,
}

/// Discord refuses longer messages (its documentation, "Execute Webhook").
const DISCORD_LONGEST: usize = 2000;

impl Webhook {
    pub(super) async fn send(&self, event: &Event) -> Result<()> {
        let body = serde_json::to_vec(&self.body.of(event)?)
            .map_err(|error| Error::new(Kind::Internal, "cannot write JSON").because(error))?;
        self.target.post("application/json", &body.into()).await
    }
}

impl Body {
    fn of(&self, event: &Event) -> Result<Value> {
        Ok(match self {
            Body::Event => facts(event)?,
            // Slack's mrkdwn knows three special characters (its documentation, "Formatting text").
            Body::Slack => {
                let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                json!({ "text": format!("{}{}", mark(event.moment), escape(&event.text())) })
            }
            Body::Discord => {
                let text = format!("{}{}", mark(event.moment), event.text());
                json!({ "content": text.chars().take(DISCORD_LONGEST).collect::<String>(), "allowed_mentions": {"parse": []} })
            }
            Body::Template(template) => template.fill(&facts(event)?),
        })
    }
}

/// The event's JSON, with its texts for people.
pub(super) fn facts(event: &Event) -> Result<Value> {
    let mut value =
        serde_json::to_value(event).map_err(|error| Error::new(Kind::Internal, "cannot write JSON").because(error))?;
    value["headline"] = event.headline().into();
    value["text"] = event.text().into();
    Ok(value)
}

fn mark(moment: Moment) -> &'static str {
    match moment {
        Moment::Start => "▶ ",
        Moment::Success | Moment::Healthy => "✅ ",
        Moment::Warning => "⚠ ",
        Moment::Failure | Moment::Unhealthy => "❌ ",
        Moment::Test => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::event;
    use super::super::template::Template;
    use super::{Body, Moment};
    use serde_json::json;

    #[test]
    fn slack_gets_text_with_its_special_characters_escaped() {
        let mut event = event(Moment::Failure);
        event.error = Some("<!channel> & more".into());
        let body = Body::Slack.of(&event).expect("a body");
        let text = body["text"].as_str().expect("text");
        assert!(text.starts_with("❌ backup job shop FAILED: &lt;!channel&gt; &amp; more\n"), "{text}");
    }

    #[test]
    fn a_template_is_filled_without_breaking_its_json() {
        let template = Template::parse(
            r#"{"summary": "{{job}}: {{headline}}", "n": "{{rows}}", "log": "{{log}}", "none": "{{error}}", "list": ["{{moment}}", 1]}"#,
        )
        .expect("a template");
        let mut event = event(Moment::Success);
        event.job = "a\"b{{host}}".into();
        event.log = vec!["x\n\"".into()];
        let body = Body::Template(template).of(&event).expect("a body");
        assert_eq!(
            body,
            json!({
                "summary": format!("a\"b{{{{host}}}}: {}", event.headline()),
                "n": 1000, "log": ["x\n\""], "none": null, "list": ["success", 1],
            })
        );
    }
}
