// Publish documents as a careful program does: sessions and connections are kept, thumbnails are
// made by sharp, and ten documents are published at a time. Node's own fetch keeps connections and
// uses less CPU time for a call than AtpAgent of @atproto/api.
// usage: node publish.mjs PDS-URL SITE-URL
import { readFile } from 'node:fs/promises'
import { mapAtATime, measured, serve } from './jobs.mjs'
import { usualPng } from './recipes.mjs'

const AT_A_TIME = 10
const [pds, site] = process.argv.slice(2)
const sessions = new Map()

// The fields of a record that its document does not have under the same name.
const additions = {
  mood: ({ mood }) => ({ text: mood }),
  painting: ({ code }) => ({
    imageUrl: `${site}/media/paintings/${code}`,
    acUrl: `${site}/#${code}`,
  }),
}

async function logIn({ user, handle, password }) {
  const login = { identifier: handle, password }
  sessions.set(user, await callJson('com.atproto.server.createSession', login))
}

/** Publish the documents in a file with one JSON object per line. */
async function publishAll(file) {
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
  return mapAtATime(AT_A_TIME, lines, (line) => publish(JSON.parse(line)))
}

/** Create the record of a document; `image` is the file of a painting. */
async function publish({ type, image, document: { _id, user, bucket, ...fields } }) {
  const { did, accessJwt } = sessions.get(user)
  const collection = `computer.aesthetic.${type}`
  const record = { $type: collection, ...fields, ...additions[type](fields), ref: _id }
  if (image) record.thumbnail = await upload(await usualPng(image), accessJwt)
  const write = { repo: did, collection, record }
  return (await callJson('com.atproto.repo.createRecord', write, accessJwt)).uri
}

async function upload(thumbnail, token) {
  return (await call('com.atproto.repo.uploadBlob', thumbnail, 'image/png', token)).blob
}

function callJson(method, input, token = undefined) {
  return call(method, JSON.stringify(input), 'application/json', token)
}

async function call(method, body, type, token) {
  const headers = { 'Content-Type': type, ...(token && { Authorization: `Bearer ${token}` }) }
  const response = await fetch(`${pds}/xrpc/${method}`, { method: 'POST', body, headers })
  if (!response.ok) throw new Error(`${method}: ${response.status} ${await response.text()}`)
  return response.json()
}

// A job is {"accounts": [...]} or {"documents": FILE}.
await serve(({ accounts, documents }) =>
  measured(() => (accounts ? mapAtATime(AT_A_TIME, accounts, logIn) : publishAll(documents))),
)
