// Replaces bytes of a file with the npm package webdav: options in the first argument, the new bytes in the second.

import { createClient } from 'webdav'

const { url, username, password, path, start } = JSON.parse(process.argv[2])
const bytes = Buffer.from(process.argv[3])
await createClient(url, { username, password }).partialUpdateFileContents(path, start, start + bytes.length - 1, bytes)
