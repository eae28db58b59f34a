// Asks media-atproto to publish a document as it is now. Call it after the save.

import { randomUUID } from "node:crypto";
import { createClient } from "@redis/client";

const WITHIN = 250; // milliseconds that a save may wait for the queue; the sweep finds what is lost
let connection = null; // of this process: made at the first call, and after a failure

// `type` is painting, mood, piece or kidlisp; `id` the document's _id; `user` whose it was, should
// the document be gone. Resolves to whether the queue took the message, and never rejects.
export async function enqueue(type, id, { user } = {}) {
  let timer;
  try {
    const args = [type, typeof id === "number" ? id : String(id)];
    const headers = { id: randomUUID(), task: "sync_media" };
    const message = JSON.stringify({ headers, body: JSON.stringify([args, user ? { user } : {}, {}]) });
    const { client, ready } = (connection ??= connect(process.env.REDIS_URL));
    const late = new Promise((_, reject) => { timer = setTimeout(reject, WITHIN, { code: "LATE" }); });
    await Promise.race([ready.then(() => client.lPush("live", message)), late]);
    return true;
  } catch (error) {
    forget(connection);
    // Not the error's text: it may quote the address of the queue, and with it the password.
    const why = error?.code ?? /^[A-Z]+(?= )/.exec(error?.message)?.[0] ?? error?.name;
    console.warn(`${type} was not enqueued; the sweep will find it (${why})`);
    return false;
  } finally {
    clearTimeout(timer);
  }
}

function connect(url) {
  if (!url) throw Object.assign(new Error(), { code: "REDIS_URL is not set" });
  const socket = { connectTimeout: WITHIN, reconnectStrategy: false };
  const client = createClient({ url, socket, disableOfflineQueue: true });
  const made = { client };
  client.on("error", () => forget(made)); // without a listener, Node would end
  made.ready = client.connect().then(() => client.unref()); // idle, it keeps no program from ending
  made.ready.catch(() => {}); // told by whoever awaits it
  return made;
}

function forget(made) {
  if (made === connection) connection = null;
  if (made?.client.isOpen) made.client.destroy();
}
