// Make thumbnails of files, and return their sizes. A job is {"recipe": NAME, "files": [PATH, ...]}.
import { mapAtATime, measured, serve } from './jobs.mjs'
import * as recipes from './recipes.mjs'

const AT_A_TIME = 10

await serve(({ recipe, files }) => {
  const make = async (file) => (await recipes[recipe](file)).length
  return measured(() => mapAtATime(AT_A_TIME, files, make))
})
