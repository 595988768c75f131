//! From nothing to a screen of models.

use std::time::{Duration, Instant};

use tests::daemon::{ADMIN, ADMIN_PASSWORD};
use tests::pty::{Setup, binary};

use crate::bed::{Bed, ms, percentile, timed};
use crate::table::Table;

const TIMES: usize = 20;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let octets = std::fs::metadata(binary()).unwrap().len();
    table.at_most("size of the program", 12.0, "MiB", octets as f64 / f64::from(1 << 20));

    let (mut times, mut octets, mut queries) = (Vec::new(), 0, 0);
    for _ in 0..TIMES {
        // Nobody listens there, and the frame doesn't care.
        let began = Instant::now();
        let mut console = Setup::new().args(&["--url", "http://127.0.0.1:9", "--user", ADMIN]).start();
        while !console.shows("Password") {
            std::thread::sleep(Duration::from_micros(200));
        }
        times.push(began.elapsed());
        octets = octets.max(console.settle());
        queries = queries.max(console.queries().len());
        console.press("<C-c>");
        console.wait_end();
    }
    table.at_most("exec to first frame (median)", 50.0, "ms", percentile(&times, 0.5));
    table.at_most("octets of the first frame", 4096.0, "octets", octets as f64);
    table.at_most("questions to the terminal", 0.0, "", queries as f64);

    let mut times = Vec::new();
    let mut logins = Vec::new();
    let mut requests = 0;
    for _ in 0..TIMES / 2 {
        let mut console = bed.setup().start();
        console.wait_for("Password");
        console.press(ADMIN_PASSWORD);
        let before = bed.requests();
        times.push(timed(&mut console, "<Enter>", |screen| screen.contains(" of ") && screen.contains(" available ")));
        console.wait_for("* live");
        console.settle();
        // Asking for them is one.
        requests = requests.max(bed.requests() - before - 1);
        console.quit();
        let began = Instant::now();
        bed.daemon.client().login(ADMIN, ADMIN_PASSWORD).expect(200);
        logins.push(began.elapsed());
    }
    let whole = percentile(&times, 0.5);
    println!("Enter to models {whole:.1} ms, of which a sign-in alone takes {:.1} ms", percentile(&logins, 0.5));
    table.at_most("Enter at login to models on the screen (median)", 150.0, "ms", whole);
    table.at_most("requests from login to live", 10.0, "", requests as f64);
    println!("slowest {:.1} ms", times.iter().copied().map(ms).fold(0.0, f64::max));
}
