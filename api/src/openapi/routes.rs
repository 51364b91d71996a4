//! Which published path takes which method: for the header `Allow` and for metric labels.

use serde_json::Value;

/// The paths of a published document.
#[derive(Debug, Clone, Default)]
pub struct PublishedRoutes {
    routes: Vec<PublishedRoute>,
}

/// One path of the document.
#[derive(Debug, Clone)]
pub struct PublishedRoute {
    /// The path as it is published, such as `/v1/transactions/{id}`.
    pub pattern: String,
    /// The methods it takes, in capitals.
    pub methods: Vec<String>,
    /// Per method, the statuses it lists by number.
    statuses: Vec<Vec<String>>,
}

impl PublishedRoutes {
    /// Reads the paths of an OpenAPI document.
    pub fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let mut routes: Vec<_> = paths.map(|(pattern, path)| PublishedRoute::of(pattern, path)).collect();
        // A literal segment wins over a parameter, as it does in the router.
        routes.sort_by_key(|route| route.pattern.matches('{').count());
        Self { routes }
    }

    /// The published path that `path` is an instance of.
    pub fn find(&self, path: &str) -> Option<&PublishedRoute> {
        self.routes.iter().find(|route| route.matches(path))
    }

    /// Every operation: its path, its method and the statuses it lists.
    pub fn operations(&self) -> impl Iterator<Item = (&PublishedRoute, &str, &[String])> {
        self.routes.iter().flat_map(|route| {
            let methods = route.methods.iter().zip(&route.statuses);
            methods.map(move |(method, statuses)| (route, method.as_str(), statuses.as_slice()))
        })
    }
}

impl PublishedRoute {
    fn of(pattern: &str, path: &Value) -> Self {
        let (mut methods, mut statuses) = (Vec::new(), Vec::new());
        for (method, operation) in path.as_object().into_iter().flatten() {
            if let Some(responses) = operation["responses"].as_object() {
                methods.push(method.to_ascii_uppercase());
                let numbered = responses.keys().filter(|status| status.parse::<u16>().is_ok());
                statuses.push(numbered.cloned().collect());
            }
        }
        Self {
            pattern: pattern.to_owned(),
            methods,
            statuses,
        }
    }

    fn matches(&self, path: &str) -> bool {
        let (mut pattern, mut path) = (self.pattern.split('/'), path.split('/'));
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some(name), Some(text)) if name.starts_with('{') && !text.is_empty() => {}
                (Some(literal), Some(text)) if literal == text => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_found_by_its_pattern_and_literals_win() {
        let document = json!({ "paths": {
            "/v1/things/{id}": { "get": { "responses": { "200": {}, "default": {} } }, "delete": { "responses": {} } },
            "/v1/things/all": { "post": { "responses": {} } },
        }});
        let routes = PublishedRoutes::of(&document);
        assert_eq!(routes.find("/v1/things/all").unwrap().methods, ["POST"]);
        let one = routes.find("/v1/things/tx_1").unwrap();
        assert_eq!(one.pattern, "/v1/things/{id}");
        assert_eq!(one.methods.len(), 2);
        assert!(routes.find("/v1/things/").is_none() && routes.find("/v1/things/a/b").is_none());
        let statuses: usize = routes.operations().map(|(_, _, statuses)| statuses.len()).sum();
        assert_eq!(statuses, 1, "default is not a status");
    }
}
