// Uploads one file with tus-js-client as the options in the first argument say, and tells the outcome as a line of JSON.

import fs from 'node:fs'
import { FileUrlStorage, Upload } from 'tus-js-client'

const { file, remember, stopAt, giveUp, ...options } = JSON.parse(process.argv[2])

function end(outcome) {
  process.stdout.write(`${JSON.stringify(outcome)}\n`, () => process.exit())
}

let isStopping = false
const upload = new Upload(fs.createReadStream(file), {
  ...options,
  ...(remember ? { urlStorage: new FileUrlStorage(remember) } : {}),
  onSuccess: () => end({ url: upload.url }),
  onError: (error) => end({ error: String(error), status: error.originalResponse?.getStatus() }),
  onChunkComplete: (_, offset) => {
    if (stopAt === undefined || offset < stopAt || isStopping) return
    isStopping = true
    upload.abort(Boolean(giveUp)).then(() => end({ url: upload.url, offset }))
  },
})

for (const previous of (await upload.findPreviousUploads()).slice(0, 1)) upload.resumeFromPreviousUpload(previous)
upload.start()
