// An upload function: save, enqueue, answer. What the queue does changes nothing about the save.
//   node upload.mjs '{"type": "mood", "user": "auth0|ada", "document": {"mood": "hello"}}'
// `document` is what a client sent: only the fields listed here are saved. `user` is who logged in.

import { MongoClient } from "mongodb";
import { enqueue } from "./enqueue.mjs";

const COLLECTIONS = { painting: "paintings", mood: "moods", piece: "pieces", kidlisp: "kidlisp" };
const FIELDS = {
  painting: ["slug", "code"],
  mood: ["mood"],
  piece: ["slug", "code"],
  kidlisp: ["source", "code"],
};

const { type, id, user, document } = JSON.parse(process.argv[2]);
const given = FIELDS[type].filter((name) => name in document);
const saved = Object.fromEntries(given.map((name) => [name, document[name]]));
const mongo = new MongoClient(process.env.MONGODB_CONNECTION_STRING, { ignoreUndefined: true });
try {
  const collection = mongo.db(process.env.MONGODB_NAME).collection(COLLECTIONS[type]);
  const { insertedId } = await collection.insertOne({ _id: id, ...saved, user, when: new Date() });
  const start = performance.now();
  const enqueued = await enqueue(type, insertedId);
  const milliseconds = Math.round(performance.now() - start);
  console.log(JSON.stringify({ id: insertedId, enqueued, milliseconds }));
} finally {
  await mongo.close();
}
