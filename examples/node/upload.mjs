// An upload function: save, enqueue, answer. What the queue does changes nothing about the save.
//   node upload.mjs '{"type": "mood", "document": {"mood": "hello", "user": "auth0|ada"}}'

import { MongoClient } from "mongodb";
import { enqueue } from "./enqueue.mjs";

const COLLECTIONS = { painting: "paintings", mood: "moods", piece: "pieces", kidlisp: "kidlisp" };

const { type, document } = JSON.parse(process.argv[2]);
const mongo = new MongoClient(process.env.MONGODB_CONNECTION_STRING);
try {
  const collection = mongo.db(process.env.MONGODB_NAME).collection(COLLECTIONS[type]);
  const { insertedId } = await collection.insertOne({ ...document, when: new Date() });
  const start = performance.now();
  const enqueued = await enqueue(type, insertedId);
  const milliseconds = Math.round(performance.now() - start);
  console.log(JSON.stringify({ id: insertedId, enqueued, milliseconds }));
} finally {
  await mongo.close();
}
