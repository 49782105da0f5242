package egan.sample

import java.io.IOException
import java.io.InputStream
import java.security.DigestInputStream
import java.security.MessageDigest
import org.json.JSONException
import org.json.JSONObject

/** One image of the golden folder with the answer that Python got for it. */
data class GoldenImage(val file: String, val score: Float, val isMinority: Boolean)

/** What `egan.json` says about the model beside it; unknown keys are ignored. */
data class Contract(
    val modelFile: String,
    val sha256: String,
    val inputName: String,
    val dtype: String,
    val height: Int,
    val width: Int,
    val outputs: List<String>,
    val majority: List<String>,
    val minority: List<String>,
    val tolerance: Float,
    val golden: List<GoldenImage>,
) {
    companion object {
        private const val COPY = "Copy the .tflite, the .json and the golden folder of one " +
            "export into app/src/main/assets and build again."

        /**
         * Reads a JSON, and checks that the model beside it is the one it describes.
         *
         * No Android here, so that a plain JVM tests it: `open` gives a file by its name.
         * Throws an IllegalArgumentException whose message tells what to do.
         */
        fun load(jsonName: String, open: (String) -> InputStream): Contract {
            val text = opened(jsonName, open).bufferedReader().use { it.readText() }
            val contract = try {
                parse(text)
            } catch (error: JSONException) {
                throw IllegalArgumentException(
                    "$jsonName is not whole, or not an export's: ${error.message}. $COPY", error,
                )
            }
            val sha256 = opened(contract.modelFile, open).use(::sha256)
            require(sha256 == contract.sha256) {
                "The model file is not the one that $jsonName describes: expected the SHA-256 " +
                    "${contract.sha256}. Received: ${contract.modelFile} with $sha256. $COPY"
            }
            return contract
        }

        /** Reads the JSON's text. Throws if it is no contract of version 1. */
        fun parse(text: String): Contract {
            val root = JSONObject(text)
            val format = root.optString("format")
            val version = root.optInt("format_version")
            require(format == "egan-keras" && version == 1) {
                "The JSON is not this sample's contract: expected format egan-keras, " +
                    "format_version 1. Received: format=$format, format_version=$version. " +
                    "Take the JSON that was exported with the model."
            }
            val input = root.getJSONObject("input")
            val dtype = input.getString("dtype")
            require(dtype == "uint8" || dtype == "float32") {
                "The model's input type must be uint8 or float32. Received: dtype=$dtype"
            }
            val shape = input.getJSONArray("shape")
            require(shape.optInt(0) == 1) {
                "The model must take one image at a time. Received: shape=$shape. " +
                    "Export it with --batch-size 1, the default."
            }
            val classes = root.getJSONObject("classes")
            val golden = root.getJSONObject("golden")
            return Contract(
                modelFile = root.getJSONObject("file").getString("name"),
                sha256 = root.getJSONObject("file").getString("sha256"),
                inputName = input.getString("name"),
                dtype = dtype,
                height = shape.getInt(1),
                width = shape.getInt(2),
                outputs = root.getJSONObject("outputs").keys().asSequence().toList(),
                majority = strings(classes, "majority"),
                minority = strings(classes, "minority"),
                tolerance = golden.getDouble("tolerance").toFloat(),
                golden = goldenImages(golden),
            )
        }

        private fun opened(name: String, open: (String) -> InputStream) = try {
            open(name)
        } catch (error: IOException) {
            throw IllegalArgumentException("The app has no $name among its assets. $COPY", error)
        }

        private fun sha256(stream: InputStream): String {
            val digest = MessageDigest.getInstance("SHA-256")
            val buffer = ByteArray(1 shl 16)
            DigestInputStream(stream, digest).use { while (it.read(buffer) >= 0) continue }
            return digest.digest().joinToString("") { "%02x".format(it) }
        }

        private fun strings(parent: JSONObject, key: String): List<String> {
            val array = parent.getJSONArray(key)
            return List(array.length()) { array.getString(it) }
        }

        private fun goldenImages(golden: JSONObject): List<GoldenImage> {
            val images = golden.getJSONArray("images")
            return List(images.length()) {
                val image = images.getJSONObject(it)
                GoldenImage(
                    file = image.getString("file"),
                    score = image.getDouble("score").toFloat(),
                    isMinority = image.getInt("is_minority") == 1,
                )
            }
        }
    }
}
