package egan.sample

import java.io.ByteArrayInputStream
import java.io.FileNotFoundException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** `egan_example.json` is a contract as `egan-keras export` writes it. */
class ContractTest {
    private val text = checkNotNull(javaClass.getResourceAsStream("/egan_example.json"))
        .bufferedReader().readText()

    @Test
    fun theContractIsRead() {
        val contract = Contract.parse(text)
        assertEquals("egan.tflite", contract.modelFile)
        assertEquals(64, contract.sha256.length)
        assertEquals("images", contract.inputName)
        assertEquals("uint8", contract.dtype)
        assertEquals(listOf(48, 32), listOf(contract.height, contract.width))
        assertEquals(setOf("score", "is_minority"), contract.outputs.toSet())
        assertEquals(listOf("good"), contract.majority)
        assertEquals(listOf("scratched", "dented"), contract.minority)
        assertEquals(0.25f, contract.tolerance)
        assertEquals(
            listOf(
                GoldenImage("egan_golden/00_majority.png", 1.5f, false),
                GoldenImage("egan_golden/01_minority.png", -3.25f, true),
            ),
            contract.golden,
        )
    }

    @Test
    fun anotherVersionIsRefused() {
        val error = assertThrows(IllegalArgumentException::class.java) {
            Contract.parse(text.replace("\"format_version\": 1", "\"format_version\": 2"))
        }
        assertTrue(error.message!!, "format_version=2" in error.message!!)
    }

    @Test
    fun aModelForManyImagesIsRefused() {
        val error = assertThrows(IllegalArgumentException::class.java) {
            Contract.parse(text.replace("[1, 48, 32, 3]", "[null, 48, 32, 3]"))
        }
        assertTrue(error.message!!, "--batch-size 1" in error.message!!)
    }

    private fun messageOf(files: Map<String, String>): String {
        val error = assertThrows(IllegalArgumentException::class.java) {
            Contract.load("egan.json") { name ->
                val content = files[name] ?: throw FileNotFoundException(name)
                ByteArrayInputStream(content.toByteArray())
            }
        }
        assertTrue(error.message!!, "into app/src/main/assets and build" in error.message!!)
        return error.message!!
    }

    @Test
    fun aMissingOrForeignFileIsTold() {
        assertTrue("no egan.json among" in messageOf(mapOf()))
        assertTrue("no egan.tflite among" in messageOf(mapOf("egan.json" to text)))
        assertTrue("egan.json is not whole" in messageOf(mapOf("egan.json" to text.take(99))))
        val other = mapOf("egan.json" to text, "egan.tflite" to "another model")
        assertTrue("not the one that egan.json describes" in messageOf(other))
    }

    @Test
    fun theModelThatTheJsonDescribesIsTaken() {
        // The SHA-256 of these letters, as sha256sum tells it.
        val abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        val files = mapOf(
            "egan.json" to text.replace(Regex("[0-9a-f]{64}"), abc),
            "egan.tflite" to "abc",
        )
        val contract = Contract.load("egan.json") { files.getValue(it).byteInputStream() }
        assertEquals(abc, contract.sha256)
    }
}
