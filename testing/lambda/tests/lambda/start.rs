//! The cold start: from the start of the process until it asks for its first invocation.

use std::{
    thread,
    time::{Duration, Instant},
};

use lab::{http, ports};

use crate::host::on_lambda;

const TIMES: usize = 5;

#[test]
fn a_cold_start_under_lambda_takes_about_as_long_as_that_of_the_same_binary_as_a_server() {
    on_lambda(async |host| {
        let (mut lambda, mut server) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let began = Instant::now();
            host.function("task-created").await;
            lambda.push(began.elapsed());

            let port = ports::free();
            let began = Instant::now();
            let _process = host.spawn(host.program("task-created").env("PORT", port.to_string()));
            while http::connect(port).is_err() {
                assert!(began.elapsed() < Duration::from_secs(20), "the server does not listen");
                thread::sleep(Duration::from_millis(1));
            }
            server.push(began.elapsed());
        }
        lambda.sort();
        server.sort();
        let (lambda, server) = (lambda[TIMES / 2], server[TIMES / 2]);
        let ratio = lambda.as_secs_f64() / server.as_secs_f64();
        println!("cold start of task-created: {lambda:?} under Lambda, {server:?} as a server, ratio {ratio:.2}");
        // Allow some noise.
        assert!(lambda < server * 3 + Duration::from_millis(50), "{lambda:?} under Lambda, {server:?} as a server");
    });
}
