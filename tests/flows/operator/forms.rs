//! The forms of a page, read from it as a browser would send them.

/// A form of a page that changes something, filled in as the page offers it.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// Where it is sent.
    pub(super) action: String,
    /// Every way to send it: what is chosen of each choice, and by which button.
    pub(super) ways: Vec<Vec<(String, String)>>,
}

impl Form {
    /// What it does to what: two forms of the same kind do the same to different rows.
    pub(super) fn kind(&self, way: &[(String, String)]) -> String {
        let plain: Vec<&str> = self
            .action
            .split('/')
            .map(|part| if part.contains('_') { "…" } else { part })
            .collect();
        let verbs = ["verb", "open", "quiet"];
        let verb = way.iter().find(|(name, _)| verbs.contains(&name.as_str()));
        format!("{} {}", plain.join("/"), verb.map_or("", |(_, value)| value))
            .trim()
            .to_owned()
    }
}

/// The forms of a page that change something, but for the one to sign out.
pub(super) fn forms_of(page: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    for part in page.split("<form").skip(1) {
        let (own, _) = part.split_once("</form>").expect("its end");
        let (tag, inner) = own.split_once('>').expect("the end of its tag");
        let action = attribute(tag, "action").unwrap_or_default();
        if attribute(tag, "method").as_deref() != Some("post") || action.ends_with("/sign-out") {
            continue;
        }
        let mut ways = vec![Vec::new()];
        let mut choose = |name: &str, values: Vec<String>| {
            let ways_before = std::mem::take(&mut ways);
            for value in values {
                ways.extend(ways_before.iter().map(|way: &Vec<(String, String)>| {
                    let mut way = way.clone();
                    way.push((name.to_owned(), value.clone()));
                    way
                }));
            }
        };
        let mut radios: Vec<(String, Vec<String>)> = Vec::new();
        for tag in tags(inner, "input") {
            let (name, value) = (attribute(tag, "name").unwrap_or_default(), attribute(tag, "value"));
            match attribute(tag, "type").as_deref() {
                Some("radio") => {
                    let value = value.expect("its value");
                    match radios.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, values)) => values.push(value),
                        None => radios.push((name, vec![value])),
                    }
                }
                // The proof and the reason are the visitor's own, and where it leads back to changes nothing.
                _ if ["form", "reason", "back"].contains(&name.as_str()) => {}
                Some("text") => choose(
                    &name,
                    vec![
                        value
                            .filter(|text| !text.is_empty())
                            .unwrap_or("found-there".to_owned()),
                    ],
                ),
                _ => choose(&name, vec![value.unwrap_or_default()]),
            }
        }
        for (name, values) in radios {
            choose(&name, values);
        }
        if let Some(tag) = tags(inner, "select").next() {
            let first = tags(inner, "option").find_map(|option| attribute(option, "value"));
            choose(
                &attribute(tag, "name").expect("its name"),
                vec![first.expect("a choice")],
            );
        }
        // Boxes that are ticked beside it.
        if attribute(tag, "id").as_deref() == Some("selection") {
            let mut boxes =
                tags(page, "input").filter(|tag| attribute(tag, "form").is_some() && !tag.contains(" disabled"));
            let first = boxes.find_map(|tag| attribute(tag, "value"));
            choose("id", first.into_iter().collect());
        }
        let buttons: Vec<(String, String)> = tags(inner, "button")
            .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
            .collect();
        if let Some((name, _)) = buttons.first() {
            choose(name, buttons.iter().map(|(_, value)| value.clone()).collect());
        }
        forms.push(Form { action, ways });
    }
    forms
}

/// The insides of every such tag.
fn tags<'a>(page: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!("<{name} ");
    let parts: Vec<&str> = page.split(begin.as_str()).skip(1).collect();
    parts.into_iter().map(|part| part.split('>').next().unwrap_or_default())
}

/// An attribute of a tag, as text.
pub(super) fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, after) = format!(" {tag}")
        .split_once(&format!(" {name}=\""))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let value = after.split('"').next()?;
    let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(plain.replace("&amp;", "&"))
}
