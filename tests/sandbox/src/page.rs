//! The look of the pages a person sees.

use crate::encoding::html_escape;

/// A whole page. The title is escaped here, the content is HTML already.
pub(crate) fn page(title: &str, content: &str) -> String {
    let title = html_escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\nbody {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 38rem; margin: 3rem auto; padding: 0 1rem; color: #1c1c28; }}\n\
         a, button {{ font: inherit; }}\nli {{ margin: .4rem 0; }}\n\
         button {{ padding: .5rem 1.2rem; margin-right: .5rem; border: 1px solid #39134c; border-radius: .4rem; background: #fff; cursor: pointer; }}\n\
         button[value=approve] {{ background: #39134c; color: #fff; }}\n\
         dt {{ color: #5b5b6b; }}\ndd {{ margin: 0 0 .6rem; }}\n.note {{ color: #5b5b6b; font-size: .9rem; }}\n</style>\n</head>\n\
         <body>\n<h1>{title}</h1>\n{content}\n<p class=\"note\">A simulation for development. No real person, bank or money.</p>\n</body>\n</html>\n"
    )
}
