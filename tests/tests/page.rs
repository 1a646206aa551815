//! The page of all papers in a browser, where there is one.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use integration_tests::{root, xtask};
use std::process::Command;

fn browser() -> Option<&'static str> {
    let is_there =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there)
}

#[test]
fn the_page_of_all_papers_fits_a_phone_and_a_screen_with_everything_open() {
    let folder = tempfile::tempdir().unwrap();
    // a run here, with a figure that is wider than any screen
    let run = folder.path().join("sep/smoke");
    std::fs::create_dir_all(run.join("plots")).unwrap();
    std::fs::copy(root().join("reports/sep/smoke.json"), run.join("report.json")).unwrap();
    let figure = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"4000\" height=\"300\"><rect width=\"4000\" height=\"300\"/></svg>";
    std::fs::write(run.join("plots/wide.svg"), figure).unwrap();
    let output = xtask().args(["report", "--out"]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(folder.path().join("index.html")).unwrap();
    assert_eq!(page.matches("<li class=\"paper ").count(), 15);
    assert_eq!(page.matches("<figure>").count(), 1);
    assert!(!page.contains("src=\"http") && !page.contains("<link rel=\"stylesheet"), "the page needs the network");
    let Some(browser) = browser() else {
        println!("skipped: no browser (apt-get install chromium)");
        return;
    };
    // a copy that says how wide it is, in a frame: a window is never as narrow as a phone
    let policy = page.find("<meta http-equiv").unwrap();
    let end = policy + page[policy..].find('>').unwrap() + 1;
    let probe = format!("{}{}", &page[..policy], &page[end..]).replace("<details>", "<details open>");
    let probe = probe.replace(
        "</body>",
        "<script>parent.document.title = document.documentElement.scrollWidth + ' of ' + innerWidth;</script></body>",
    );
    std::fs::write(folder.path().join("probe.html"), probe).unwrap();
    for width in [390, 1280] {
        let frame = format!(
            "<html><body><iframe src=\"probe.html\" style=\"width:{width}px;height:900px;border:0\"></iframe></body></html>"
        );
        let path = folder.path().join(format!("frame-{width}.html"));
        std::fs::write(&path, frame).unwrap();
        let mut command = Command::new(browser);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--window-size=1400,1000",
        ]);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.args(["--virtual-time-budget=10000", "--dump-dom"]).arg(format!("file://{}", path.display()));
        let Ok(output) = command.output() else {
            println!("skipped: no program `timeout`");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            println!("skipped: the browser does not run here: {}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        let title = text.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
        let title = title.unwrap_or_else(|| panic!("the page has not said how wide it is: {text}"));
        let (found, allowed) = title.split_once(" of ").unwrap();
        let [found, allowed] = [found, allowed].map(|number| number.parse::<usize>().unwrap());
        assert!(found <= allowed && allowed <= width, "{found} pixels in {allowed}, for a width of {width}");
    }
}
