// What to save in the collection `atproto_removals` before a document is deleted, so that its
// record goes even if the message about it is lost: the sweep finds the note.

const GRACE = 30_000; // milliseconds in which the document is deleted, and the message sees to it

export function removalNote(type, id, user, rkey = null) {
  const named = typeof id === "number" ? id : String(id);
  return {
    _id: `${type}:${user}::${named}`,
    type,
    user,
    id: named,
    rkey, // `atproto.rkey` of the document: the record is then found by one call
    attempts: 0,
    retryAt: new Date(Date.now() + GRACE),
  };
}
