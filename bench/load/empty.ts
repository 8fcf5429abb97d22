/**
 * A Hono app with nothing in it, served as Mentor's is; prints its address. What a request costs
 * there is what it costs at least.
 *
 * @module
 */

import { Hono } from "hono";
import { Listener } from "../../src/serve/listener.ts";

const app = new Hono().get("/", (c) => c.json({}));
const { url } = await Listener.open(app.fetch, { host: "127.0.0.1", port: 0 });
console.log(JSON.stringify({ url }));
